/* SPDX-License-Identifier: Apache-2.0 */
/* The documents, in a table in order of use: those at its head were used longest ago. */
#include "config-auto.h"

#include "api/access/documents.h"

#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"

struct entry {
    char key[VERDICT_KEY];
    int64_t when;  /* on the monotonic clock */
    bool lasting;  /* it may be given again while it is young */
    char *image;   /* NULL: of several */
    struct document document; /* its body is the entry's */
    size_t size;   /* bytes of all */
    UT_hash_handle hh;
};

struct documents {
    const struct config_api *config;
    pthread_mutex_t lock;
    struct entry *entries; /* protected by lock, as all below */
    uint64_t bytes;
    uint64_t changes;
};

struct documents *documents_new(const struct config_api *config)
{
    struct documents *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return NULL;
    d->config = config;
    pthread_mutex_init(&d->lock, NULL);
    return d;
}

static void free_entry(struct entry *e)
{
    if (e == NULL)
        return;
    free(e->document.body);
    free(e->image);
    free(e);
}

static void drop_locked(struct documents *d, struct entry *e)
{
    HASH_DEL(d->entries, e);
    d->bytes -= e->size;
    free_entry(e);
}

void documents_free(struct documents *d)
{
    struct entry *e, *next;
    if (d == NULL)
        return;
    HASH_ITER(hh, d->entries, e, next) {
        drop_locked(d, e);
    }
    pthread_mutex_destroy(&d->lock);
    free(d);
}

bool documents_on(const struct documents *d)
{
    return d->config->document_ttl > 0 || d->config->stale_if_error > 0;
}

/* Seconds that an entry may be given. */
static uint64_t life(const struct documents *d, const struct entry *e, enum document_age age)
{
    uint64_t young = e->lasting ? d->config->document_ttl : 0;
    return age == DOCUMENT_STALE && d->config->stale_if_error > young ? d->config->stale_if_error : young;
}

/* What is of no use any more goes. */
static struct entry *find_locked(struct documents *d, const char *key, enum document_age age)
{
    struct entry *e;
    HASH_FIND_STR(d->entries, key, e);
    if (e == NULL)
        return NULL;
    int64_t old = clock_monotonic() - e->when;
    if (old >= (int64_t)life(d, e, DOCUMENT_STALE) * NS_PER_S) {
        drop_locked(d, e);
        return NULL;
    }
    return old < (int64_t)life(d, e, age) * NS_PER_S ? e : NULL;
}

bool documents_get(struct documents *d, const char key[VERDICT_KEY], enum document_age age, struct document *ret)
{
    char *body = NULL;
    pthread_mutex_lock(&d->lock);
    struct entry *e = find_locked(d, key, age);
    if (e != NULL)
        body = malloc(e->document.length + 1);
    if (body != NULL) {
        *ret = e->document;
        ret->body = memcpy(body, e->document.body, e->document.length + 1);
        ret->age = (uint64_t)((clock_monotonic() - e->when) / NS_PER_S);
        HASH_DEL(d->entries, e); /* to the end */
        HASH_ADD_STR(d->entries, key, e);
    }
    pthread_mutex_unlock(&d->lock);
    return body != NULL;
}

bool documents_has(struct documents *d, const char key[VERDICT_KEY])
{
    pthread_mutex_lock(&d->lock);
    bool has = find_locked(d, key, DOCUMENT_STALE) != NULL;
    pthread_mutex_unlock(&d->lock);
    return has;
}

uint64_t documents_ask(struct documents *d)
{
    pthread_mutex_lock(&d->lock);
    uint64_t changes = d->changes;
    pthread_mutex_unlock(&d->lock);
    return changes;
}

/* An image that is still being made is looked at again and again, until it is active. Schemas and the like have no status. */
static bool is_lasting(const struct document *document)
{
    json_t *parsed = json_loadb(document->body, document->length, 0, NULL);
    const json_t *status = json_object_get(parsed, "status");
    bool lasting = parsed != NULL && (status == NULL || (json_is_string(status) && strcmp(json_string_value(status), "active") == 0));
    json_decref(parsed);
    return lasting;
}

static struct entry *make_entry(const char *key, const char *image, const struct document *document)
{
    struct entry *e = calloc(1, sizeof(*e));
    char *body = malloc(document->length + 1), *name = image != NULL ? strdup(image) : NULL;
    if (e == NULL || body == NULL || (image != NULL && name == NULL)) {
        free(e);
        free(body);
        free(name);
        return NULL;
    }
    *e = (struct entry){.when = clock_monotonic(), .image = name, .document = *document, .lasting = image != NULL && is_lasting(document),
                        .size = sizeof(*e) + document->length + 1 + (name != NULL ? strlen(name) + 1 : 0)};
    memcpy(e->key, key, VERDICT_KEY);
    e->document.body = memcpy(body, document->body, document->length);
    body[document->length] = '\0';
    return e;
}

void documents_put(struct documents *d, const char key[VERDICT_KEY], const char *image, uint64_t asked, const struct document *document)
{
    if (document->length > DOCUMENT_BYTES_MAX)
        return;
    struct entry *new = make_entry(key, image, document), *old;
    if (new == NULL)
        return;
    pthread_mutex_lock(&d->lock);
    HASH_FIND_STR(d->entries, key, old);
    if (old != NULL)
        drop_locked(d, old);
    bool kept = asked == d->changes && new->size <= d->config->document_cache_size && life(d, new, DOCUMENT_STALE) > 0;
    while (kept && d->entries != NULL &&
           (HASH_COUNT(d->entries) >= DOCUMENTS_MAX || d->bytes + new->size > d->config->document_cache_size))
        drop_locked(d, d->entries);
    if (kept) {
        HASH_ADD_STR(d->entries, key, new);
        d->bytes += new->size;
    }
    pthread_mutex_unlock(&d->lock);
    if (!kept)
        free_entry(new);
}

void documents_drop(struct documents *d, const char key[VERDICT_KEY])
{
    struct entry *e;
    pthread_mutex_lock(&d->lock);
    HASH_FIND_STR(d->entries, key, e);
    if (e != NULL)
        drop_locked(d, e);
    pthread_mutex_unlock(&d->lock);
}

void documents_forget(struct documents *d, const char *image)
{
    struct entry *e, *next;
    pthread_mutex_lock(&d->lock);
    d->changes++;
    HASH_ITER(hh, d->entries, e, next) {
        if (image == NULL || e->image == NULL || strcmp(image, e->image) == 0)
            drop_locked(d, e);
    }
    pthread_mutex_unlock(&d->lock);
}

bool document_wanted_anew(const struct request *r)
{
    const char *control = request_header(r, "Cache-Control");
    return control != NULL && (strcasestr(control, "no-cache") != NULL || strcasestr(control, "no-store") != NULL);
}

enum MHD_Result document_reply(struct request *r, struct document *document, bool stale)
{
    r->kept = true;
    r->stale = stale;
    r->age = document->age;
    return reply_text(r, document->status, document->type, document->body, document->length);
}
