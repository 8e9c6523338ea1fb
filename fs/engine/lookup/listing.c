/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lister's thread reads the backend's listing for `ls images/`: a document of any length, read page by page straight into the
 * catalogue, with blocking transfers that nobody but this thread waits for.
 */
#include "config-auto.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/listing/listing.h"
#include "backends/refusal.h"
#include "base/log.h"
#include "engine/lookup/gone.h"
#include "engine/lookup/listing.h"

enum { BATCH = 1000, FAILURE_PAUSE_S = 5, PAGES_MAX = 50000, PAGE_TRIES = 2 };

struct lister {
    pthread_mutex_t lock;
    /* protected by lock: */
    struct waiters waiters;
    bool under_way;
    int64_t listed_at; /* wall clock; when the last one ended well; 0: none did */
    int64_t failed_at; /* monotonic; 0: none did */
    int status;        /* of the last one */
};

int listings_new(int64_t listed_at, struct lister **ret)
{
    struct lister *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    TAILQ_INIT(&l->waiters);
    l->listed_at = listed_at;
    *ret = l;
    return 0;
}

void listings_free(struct lister *l)
{
    if (l != NULL)
        pthread_mutex_destroy(&l->lock);
    free(l);
}

/* ---- a listing */

struct reading {
    struct engine *e;
    int64_t generation;
    uint64_t images;
    struct listed_image batch[BATCH];
    char names[BATCH][IMAGE_ID_MAX + 1];
    struct image_meta metas[BATCH];
    unsigned endpoint;
    size_t n;
    struct listing *parser;
    const char *marker; /* of the page; NULL: the first */
    bool full;          /* it has more than list_max images */
    char *next;         /* what it says of the next one; free() it */
    int status;         /* of the page's answer */
    struct refusal refused;
    unsigned extras, others; /* of its request; how often it was made otherwise */
    bool otherwise;     /* it is worth to be */
    char refusal[100];  /* in words; "" */
};

static int write_batch(struct reading *r)
{
    int error = r->n ? catalogue_listing_put(r->e->catalogue, r->generation, r->batch, r->n, clock_now()) : 0;
    r->images += r->n;
    r->n = 0;
    return error;
}

static int take_image(void *context, const struct listed_image *image)
{
    struct reading *r = context;
    if (!image_id_valid(image->name))
        return 0;
    if (r->images + r->n >= r->e->config->list_max) {
        r->full = true;
        return -EFBIG; /* the rest is not read */
    }
    snprintf(r->names[r->n], sizeof(r->names[r->n]), "%s", image->name);
    r->batch[r->n] = (struct listed_image){.name = r->names[r->n], .size = image->size};
    if (image->meta != NULL) {
        r->metas[r->n] = *image->meta;
        r->metas[r->n].endpoint = r->endpoint;
        r->batch[r->n].meta = &r->metas[r->n];
    }
    return ++r->n == BATCH ? write_batch(r) : 0;
}

static int on_list_head(void *context, const struct transfer_head *head)
{
    struct reading *r = context;
    r->status = head->status;
    return r->e->ops->listing(r->e->backend, head, take_image, r, &r->parser);
}

static int on_list_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct reading *r = context;
    (void)head;
    return listing_feed(r->parser, data, length);
}

static void on_list_done(void *context, int error, const struct transfer_result *result)
{
    struct reading *r = context;
    r->otherwise = origin_otherwise(r->e->origin, r->endpoint, r->extras, result, &r->others) && error < 0;
    refusal_note(result, &r->refused);
    refusal_text(result->status, result->document, r->refusal, sizeof(r->refusal));
}

static int ask_page_once(struct reading *r)
{
    static const struct transfer_ops ops = {.on_head = on_list_head, .on_data = on_list_data, .on_done = on_list_done};
    struct engine *e = r->e;
    struct transfer_request request = {0};
    const char *next = NULL;

    r->otherwise = false;
    int error = e->ops->list(e->backend, r->endpoint, r->marker, &request);
    r->extras = request.extras;
    if (error == 0)
        error = transfer_perform(e->transfers, &request, &ops, r);
    transfer_request_clear(&request);
    if (error == 0)
        error = r->parser == NULL ? -EPROTO : listing_end(r->parser, &next);
    if (error == 1 && (r->next = strdup(next)) == NULL)
        error = -ENOMEM;
    listing_free(r->parser);
    r->parser = NULL;
    return error;
}

static int ask_page(void *context)
{
    struct reading *r = context;
    int error;
    r->status = 0;
    r->others = 0;
    do
        error = ask_page_once(r);
    while (r->otherwise);
    return error;
}

/*
 * A server that leads in a circle is found out by a marker that comes again: each is compared with one that is kept, the first, second,
 * fourth, eighth and so on, so that a circle of any length is seen once that many pages lie between two that are kept.
 */
static int read_pages(struct reading *r)
{
    char *marker = NULL, *kept = NULL;
    unsigned page = 0;
    int error;
    do {
        r->marker = marker;
        r->next = NULL;
        error = lister_ask(r->e, ask_page, r, &r->refused);
        for (unsigned tries = 0; error == -ECONNRESET && tries < PAGE_TRIES; tries++) /* it broke off: images that came twice are one */
            error = lister_ask(r->e, ask_page, r, &r->refused);
        char *next = r->next;
        if (error == 1 && ((kept != NULL && strcmp(next, kept) == 0) || ++page > PAGES_MAX)) {
            log_warning("the backend's listing has no end: after page %u it leads %s", page, page > PAGES_MAX ? "on and on" : "back");
            error = -EPROTO;
        } else if (error == 1 && (page & (page - 1)) == 0) {
            free(kept);
            if ((kept = strdup(next)) == NULL)
                error = -ENOMEM;
        }
        free(marker);
        marker = next;
    } while (error == 1 && !atomic_load(&r->e->stopping));
    free(marker);
    free(kept);
    return error == 1 ? -ECANCELED : error;
}

enum { WHAT_MAX = 160 };

/* How the question for a listing ended. */
struct outcome {
    uint64_t images;
    unsigned endpoint;
    char what[WHAT_MAX]; /* was asked, and what came of it */
    const char *advice;
    int error; /* for who looks into images/: -EACCES refused, -EHOSTUNREACH no answer, -EIO one that is none, or what this machine lacks */
};

static void judge(const struct reading *r, int error, struct outcome *ret)
{
    bool answered = r->status >= 200, local = transfer_error_is_local(error);
    if (r->status >= 400)
        snprintf(ret->what, WHAT_MAX, "asked for its listing, %s", r->refusal);
    else if (answered && error == -EPROTO)
        snprintf(ret->what, WHAT_MAX, "its listing, answered %d, cannot be understood", r->status);
    else
        snprintf(ret->what, WHAT_MAX, "its listing could not be had: %s", error_text(error));
    ret->advice = error == -EACCES                         ? "check the credentials, and whether their user may list"
                  : local                                  ? "this machine is short of it"
                  : !answered                              ? "check the address, and whether the server runs"
                  : r->status >= 500 || r->status == 429   ? "the server's own log says why"
                                                           : "check the address: is it that of the images?";
    ret->error = error == -EACCES || local ? error : answered ? -EIO : -EHOSTUNREACH;
}

static int read_endpoint(struct engine *e, unsigned endpoint, struct outcome *ret)
{
    struct reading *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return -ENOMEM;
    r->e = e;
    r->endpoint = endpoint;
    int error = catalogue_listing_begin(e->catalogue, &r->generation);
    if (error == 0)
        error = e->ops->list_here != NULL ? e->ops->list_here(e->backend, take_image, r) : read_pages(r);
    if (error == -EFBIG && r->full) {
        log_warning("the backend lists more than list_max images: only %llu of them are shown in images/", (unsigned long long)e->config->list_max);
        error = 0;
    }
    if (error == 0)
        error = write_batch(r);
    if (error == 0)
        error = catalogue_listing_end(e->catalogue, r->generation, clock_now());
    if (error == 0 && config_views(e->config) & VIEW_NOVA)
        error = catalogue_hash_names(e->catalogue, &e->stopping);
    judge(r, error, ret);
    ret->endpoint = endpoint;
    ret->images = r->images;
    free(r);
    return error;
}

static int read_listing(struct engine *e, struct outcome *ret)
{
    unsigned n = e->ops->endpoints(e->backend), tried = 0;
    int error = -ENOTSUP;
    for (unsigned i = 0; i < n; i++) {
        unsigned endpoint = origin_choose(e->origin, &tried);
        error = read_endpoint(e, endpoint, ret);
        if (error == 0)
            origin_ok(e->origin, endpoint);
        if (error == 0 || error == -ENOTSUP || error == -ECANCELED || error == -EACCES)
            return error;
        if (!transfer_error_is_local(error))
            origin_failed(e->origin, endpoint, error, ret->what, 0);
    }
    return error;
}

static void list(void *context)
{
    struct engine *e = context;
    struct waiters all = TAILQ_HEAD_INITIALIZER(all);
    int64_t began = clock_monotonic();
    struct outcome outcome = {.what = "out of memory", .advice = "this machine is short of it", .error = -ENOMEM};
    int error = read_listing(e, &outcome);

    if (error == 0)
        log_debug("the backend lists %llu images, read in %.2f s", (unsigned long long)outcome.images,
                  (double)(clock_monotonic() - began) / (double)NS_PER_S);
    else if (error == -ENOTSUP)
        log_debug("the backend does not list its images; images/ shows those that were seen");
    else
        log_warning("the images of %s could not be listed: %s: %s; images/ shows those that were seen",
                    e->ops->endpoint_name(e->backend, outcome.endpoint), outcome.what, outcome.advice);

    struct lister *l = e->listings;
    pthread_mutex_lock(&l->lock);
    l->under_way = false;
    l->status = error == -ENOTSUP || error == 0 ? 0 : outcome.error;
    if (error == 0)
        l->listed_at = clock_now();
    else
        l->failed_at = clock_monotonic();
    struct waiter *w;
    while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
        TAILQ_REMOVE(&l->waiters, w, link);
        w->status = error == -ECANCELED ? error : 0;
        TAILQ_INSERT_TAIL(&all, w, link);
    }
    pthread_mutex_unlock(&l->lock);
    wake_all(&all);
    if (error == 0)
        gone_after_listing(e);
}

int listing_wait(struct engine *e, struct waiter *w)
{
    struct lister *l = e->listings;
    int64_t ttl = (int64_t)e->config->list_ttl * NS_PER_S;
    bool start = false;
    int r = 0;

    if (e->ops->list == NULL && e->ops->list_here == NULL)
        return 0;
    pthread_mutex_lock(&l->lock);
    bool fresh = l->listed_at != 0 && clock_recent(l->listed_at, ttl) && l->status == 0;
    bool failed = l->failed_at != 0 && clock_monotonic() - l->failed_at < FAILURE_PAUSE_S * NS_PER_S;
    if (!fresh && !failed) {
        if (atomic_load(&w->interrupted)) {
            r = -EINTR;
        } else {
            TAILQ_INSERT_TAIL(&l->waiters, w, link);
            start = !l->under_way;
            l->under_way = true;
            r = ENGINE_PARKED;
        }
    }
    pthread_mutex_unlock(&l->lock);
    if (start)
        tasks_add(e->lister, list, e);
    return r;
}

int listing_status(struct engine *e, int64_t *ret_listed_at)
{
    pthread_mutex_lock(&e->listings->lock);
    int status = e->listings->status;
    *ret_listed_at = e->listings->listed_at;
    pthread_mutex_unlock(&e->listings->lock);
    return status;
}

void listing_take_interrupted(struct engine *e, struct waiters *out)
{
    pthread_mutex_lock(&e->listings->lock);
    waiters_take_interrupted(&e->listings->waiters, out);
    pthread_mutex_unlock(&e->listings->lock);
}
