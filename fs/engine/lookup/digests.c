/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The digests thread reads what the backend publishes beside the images (SHA256SUMS). The end of an image waits for its digest: not for a
 * listing of any length, and not for the rest of such a file either, once its own line has come.
 *
 * A file is asked for at most once in list_ttl, and with the validators of the answer before: one that did not change costs no more than
 * that. One that comes whole is put into the catalogue in batches, which writes only what is new.
 */
#include "config-auto.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/listing/sums.h"
#include "backends/refusal.h"
#include "base/backoff.h"
#include "base/log.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/lookup/listing.h"
#include "engine/lookup/signed.h"
#include "engine/lookup/validator.h"
#include "origin/login.h"

enum { BATCH = 1000, NO_DOCUMENT = 1, NOT_MODIFIED = 304 };

enum { DOCUMENTS_MAX = 8 }; /* whose validators are kept */

struct published {
    pthread_mutex_t lock;
    struct image *wishes;    /* images that wait for their line, by name; protected by lock */
    struct signed_trust trust;
    atomic_bool distrusted;  /* an image did not match: read them again */
    /* the digests thread's: */
    int64_t read_at; /* monotonic; 0: never */
    bool unsigned_one; /* of those that are being read, one is not signed as it must be */
    struct document_validator documents[DOCUMENTS_MAX];
};

int published_new(struct published **ret)
{
    struct published *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->trust.lock, NULL);
    *ret = p;
    return 0;
}

void published_free(struct published *p)
{
    if (p != NULL)
        pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- images that wait for their line */

static void settle_with(struct image *image, const struct digest *digest)
{
    if (digest->algorithm != DIGEST_NONE)
        catalogue_set_digest(image->engine->catalogue, image->row, digest);
    image_lock(image);
    if (digest->algorithm != DIGEST_NONE)
        image->meta.digest = *digest;
    image->digest_settled = true;
    image_changed_locked(image);
    image_unlock(image);
}

/* False: it was answered. */
static bool take_wish(struct image *image)
{
    struct engine *e = image->engine;
    pthread_mutex_lock(&e->published->lock);
    bool wished = image->wished;
    if (wished)
        HASH_DELETE(wish, e->published->wishes, image);
    image->wished = false;
    pthread_mutex_unlock(&e->published->lock);
    return wished;
}

static struct image *find_wish(struct engine *e, const char *name)
{
    struct image *image = NULL;
    pthread_mutex_lock(&e->published->lock);
    if (e->published->wishes != NULL)
        HASH_FIND(wish, e->published->wishes, name, strlen(name), image);
    if (image != NULL)
        image_ref(image);
    pthread_mutex_unlock(&e->published->lock);
    return image;
}

static void answer_wishes(struct engine *e, const char *name, const struct digest *digest)
{
    struct image *image;
    while ((image = find_wish(e, name)) != NULL) {
        if (take_wish(image))
            settle_with(image, digest);
        image_put(image);
    }
}

/* ---- a document */

struct document {
    struct engine *e;
    unsigned endpoint, number;
    const char *name;
    enum digest_algorithm algorithm, later; /* later: the strongest of those behind it */
    struct sums *parser;
    struct signed_text text; /* all of it, when it must be signed */
    struct digests_update *update;
    struct document_validator fresh; /* of the answer */
    bool unchanged;
    int status; /* of the answer */
    struct refusal refused;
    unsigned extras, others; /* of its request; how often it was made otherwise */
    bool otherwise;
    size_t n;
    struct published_digest batch[BATCH];
};

static int write_batch(struct document *d)
{
    int r = d->n > 0 ? catalogue_digests_put(d->update, d->batch, d->n) : 0;
    if (r == -EFBIG)
        log_warning("%s: it has more than %d lines; such a file is not taken", d->name, CATALOGUE_DIGESTS_MAX);
    d->n = 0;
    return r;
}

static int take_digest(void *context, const char *name, const struct digest *digest)
{
    struct document *d = context;
    if (!image_id_valid(name))
        return 0;
    if (digest->algorithm >= d->later)
        answer_wishes(d->e, name, digest);
    struct published_digest *published = &d->batch[d->n++];
    snprintf(published->name, sizeof(published->name), "%s", name);
    published->digest = *digest;
    return d->n == BATCH ? write_batch(d) : 0;
}

/* ---- what it was when it was read last */

static struct document_validator *validator_of(struct document *d)
{
    return d->number < DOCUMENTS_MAX ? &d->e->published->documents[d->number] : NULL;
}

static void keep_validator(struct document *d)
{
    struct document_validator *kept = validator_of(d);
    if (kept != NULL)
        *kept = d->fresh;
}

void published_distrust(struct engine *e)
{
    atomic_store(&e->published->distrusted, true);
}

/* ---- its transfer */

static int on_sums_head(void *context, const struct transfer_head *head)
{
    struct document *d = context;
    d->status = head->status;
    d->unchanged = head->status == NOT_MODIFIED;
    if (d->unchanged)
        return 0;
    int r = backend_status_error(head->status);
    if (r < 0)
        return r;
    validator_note(&d->fresh, d->endpoint, head);
    r = catalogue_digests_begin(d->e->catalogue, d->name, &d->update);
    return r < 0 ? r : sums_new(d->algorithm, take_digest, d, &d->parser);
}

static int on_sums_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct document *d = context;
    (void)head;
    if (d->parser == NULL)
        return 0;
    return d->e->config->checksum_keyring != NULL ? signed_gather(&d->text, data, length, SIGNED_TEXT_MAX) : sums_feed(d->parser, data, length);
}

/* Nothing is taken from a document that is not signed as it must be; it is asked for again, for it may become so without a change of its own. */
static int take_signed(struct document *d)
{
    char why[SIGNED_WHY_MAX] = "";
    int r = signed_verify(d->e, d->endpoint, d->name, &d->text, why);
    if (r == -EBADMSG) {
        d->fresh = (struct document_validator){0};
        d->e->published->unsigned_one = true;
        signed_say(&d->e->published->trust, why);
    }
    if (r == 0)
        r = sums_feed(d->parser, d->text.bytes, d->text.length);
    return r == -EBADMSG ? 0 : r;
}

/* All of it is here. */
static int end_document(struct document *d)
{
    int r = d->parser != NULL ? sums_end(d->parser) : 0;
    if (r == 0 && d->update != NULL)
        r = write_batch(d);
    if (r == 0 && d->update != NULL)
        r = catalogue_digests_end(d->update);
    if (r == 0 && d->update != NULL)
        keep_validator(d);
    return r;
}

static void on_sums_done(void *context, int error, const struct transfer_result *result)
{
    struct document *d = context;
    refusal_note(result, &d->refused);
    d->otherwise = origin_otherwise(d->e->origin, d->endpoint, d->extras, result, &d->others) && error < 0;
}

static int ask_document_once(struct document *d)
{
    static const struct transfer_ops ops = {.on_head = on_sums_head, .on_data = on_sums_data, .on_done = on_sums_done};
    struct engine *e = d->e;
    struct transfer_request request = {0};

    int r = e->ops->digests(e->backend, d->endpoint, d->number, &request, &d->name, &d->algorithm);
    if (r < 0)
        return r == -ENOENT ? NO_DOCUMENT : r;
    d->n = 0;
    d->extras = request.extras;
    r = request.url != NULL && validator_of(d) != NULL ? validator_ask(validator_of(d), d->endpoint, &request) : 0;
    if (r == 0)
        r = transfer_perform(e->transfers, &request, &ops, d);
    transfer_request_clear(&request);
    if (r == 0 && d->parser != NULL && e->config->checksum_keyring != NULL)
        r = take_signed(d);
    if (r == 0)
        r = end_document(d);
    signed_clear(&d->text);
    sums_free(d->parser);
    catalogue_digests_free(d->update);
    d->parser = NULL;
    d->update = NULL;
    return r;
}

static int ask_document(void *context)
{
    struct document *d = context;
    int r;
    d->status = 0;
    d->others = 0;
    do {
        d->otherwise = false;
        r = ask_document_once(d);
    } while (d->otherwise);
    return r;
}

/* The server does not have it, or does not show it to us. */
static int put_nothing(struct document *d)
{
    int r = catalogue_digests_begin(d->e->catalogue, d->name, &d->update);
    if (r < 0)
        return r;
    r = catalogue_digests_end(d->update);
    catalogue_digests_free(d->update);
    d->fresh = (struct document_validator){0};
    keep_validator(d);
    return r;
}

static enum digest_algorithm strongest_after(struct engine *e, unsigned endpoint, unsigned n)
{
    enum digest_algorithm strongest = DIGEST_NONE, algorithm;
    struct transfer_request request = {0};
    const char *name;
    while (e->ops->digests(e->backend, endpoint, ++n, &request, &name, &algorithm) == 0) {
        if (algorithm == DIGEST_NONE) /* its lines tell */
            algorithm = DIGEST_SHA512;
        if (algorithm > strongest)
            strongest = algorithm;
        transfer_request_clear(&request);
    }
    transfer_request_clear(&request);
    return strongest;
}

/*
 * Reads the Nth document. NO_DOCUMENT: there are only N. One that the server does not have, or does not show us, is an empty one; but that it
 * takes our credential for none says nothing about the document.
 */
static int read_document(struct engine *e, unsigned endpoint, unsigned n)
{
    struct document *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    d->e = e;
    d->endpoint = endpoint;
    d->number = n;
    d->later = strongest_after(e, endpoint, n);
    int r = lister_ask(e, ask_document, d, &d->refused);
    bool believed = e->ops->auth_needed == NULL || (d->status != 0 && (d->status != 401 || auth_credential(e->origin) == 0 /* none is in use */));
    if (r == -ENOENT || (r == -EACCES && believed))
        r = put_nothing(d);
    free(d);
    return r;
}

static int read_documents(struct engine *e)
{
    unsigned endpoints = e->ops->endpoints(e->backend), tried = 0;
    int r = 0;
    for (unsigned i = 0; i < endpoints; i++) {
        unsigned endpoint = origin_choose(e->origin, &tried), n = 0;
        e->published->unsigned_one = false;
        while ((r = read_document(e, endpoint, n)) == 0)
            n++;
        if (r == NO_DOCUMENT) {
            e->published->read_at = clock_monotonic();
            if (!e->published->unsigned_one)
                signed_say(&e->published->trust, "");
            return 0;
        }
        if (r == -ECANCELED)
            return r;
    }
    return r;
}

static void pause_ms(struct engine *e, uint64_t ms)
{
    for (uint64_t waited = 0; waited < ms && !atomic_load(&e->stopping); waited += 50)
        nanosleep(&(struct timespec){.tv_nsec = 50 * NS_PER_MS}, NULL);
}

static int refresh_digests(struct engine *e)
{
    int64_t ttl = (int64_t)e->config->list_ttl * NS_PER_S;
    int r = 0;
    bool distrusted = atomic_exchange(&e->published->distrusted, false);
    if (distrusted)
        memset(e->published->documents, 0, sizeof(e->published->documents)); /* each is read whole */
    if (!distrusted && e->published->read_at != 0 && clock_monotonic() - e->published->read_at <= ttl)
        return 0;
    for (unsigned i = 0; i <= e->config->retries && !atomic_load(&e->stopping); i++) {
        r = read_documents(e);
        if (r == 0 || r == -ECANCELED)
            break;
        pause_ms(e, backoff_ms(e->config->retry_delay, i + 1, (uint32_t)random()));
    }
    return atomic_load(&e->stopping) ? -ECANCELED : r;
}

static void give_up(struct image *image)
{
    image_lock(image);
    image->digest_asked = false;
    image_unlock(image);
    image_give_up(image, -EIO, "the digests published beside it cannot be read, so that it cannot be verified");
}

static void settle(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    struct digest digest = {.algorithm = DIGEST_NONE};

    int r = refresh_digests(e);
    bool wished = take_wish(image);
    if (wished && r < 0 && r != -ECANCELED)
        give_up(image);
    if (wished && r == 0) {
        catalogue_digest_of(e->catalogue, image->name, &digest);
        settle_with(image, &digest);
    }
    image_put(image);
}

void published_why(struct engine *e, char ret[SIGNED_WHY_MAX])
{
    signed_why(&e->published->trust, ret);
}

void published_settle(struct image *image)
{
    struct engine *e = image->engine;
    pthread_mutex_lock(&e->published->lock);
    if (!image->wished)
        HASH_ADD_KEYPTR(wish, e->published->wishes, image->name, strlen(image->name), image);
    image->wished = true;
    pthread_mutex_unlock(&e->published->lock);
    tasks_add(e->digests, settle, image_ref(image));
}

struct question {
    struct engine *e;
    const char *name;
    struct digest *ret;
    int status;
    sem_t done;
};

static void answer_question(void *context)
{
    struct question *q = context;
    q->status = q->e->ops->digests == NULL ? -ENOENT : refresh_digests(q->e);
    if (q->status == 0)
        q->status = catalogue_digest_of(q->e->catalogue, q->name, q->ret);
    sem_post(&q->done);
}

int published_digest_now(struct engine *e, const char *name, struct digest *ret)
{
    struct question q = {.e = e, .name = name, .ret = ret};
    sem_init(&q.done, 0, 0);
    tasks_add(e->digests, answer_question, &q);
    while (sem_wait(&q.done) < 0)
        ;
    sem_destroy(&q.done);
    return q.status;
}
