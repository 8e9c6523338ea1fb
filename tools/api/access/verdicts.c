/* SPDX-License-Identifier: Apache-2.0 */
/* Kept verdicts, in a table in order of arrival: the oldest are at its head. */
#include "config-auto.h"

#include "api/access/verdicts.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"
#include "image/digest.h"

struct entry {
    char key[VERDICT_KEY];
    int verdict;
    int64_t until;
    UT_hash_handle hh;
    char data[];
};

struct verdicts {
    pthread_mutex_t lock;
    struct entry *entries; /* protected by lock */
};

struct verdicts *verdicts_new(void)
{
    struct verdicts *v = calloc(1, sizeof(*v));
    if (v != NULL)
        pthread_mutex_init(&v->lock, NULL);
    return v;
}

static void drop_locked(struct verdicts *v, struct entry *e)
{
    HASH_DEL(v->entries, e);
    free(e);
}

void verdicts_free(struct verdicts *v)
{
    struct entry *e, *next;
    if (v == NULL)
        return;
    HASH_ITER(hh, v->entries, e, next) {
        drop_locked(v, e);
    }
    pthread_mutex_destroy(&v->lock);
    free(v);
}

bool verdict_key(const char *a, const char *b, char ret[VERDICT_KEY])
{
    struct digest_stream *stream;
    struct digest d;
    if (digest_stream_new(DIGEST_SHA256, &stream) < 0)
        return false;
    int r = digest_stream_update(stream, a, strlen(a) + 1); /* with its NUL, so that "ab","c" is not "a","bc" */
    if (r == 0 && b != NULL)
        r = digest_stream_update(stream, b, strlen(b));
    if (r == 0)
        r = digest_stream_finish(stream, &d);
    digest_stream_free(stream);
    if (r == 0)
        memcpy(ret, d.hex, VERDICT_KEY);
    return r == 0;
}

bool verdicts_get_with(struct verdicts *v, const char *key, int *ret_verdict, void *ret_data, size_t size)
{
    struct entry *e;
    pthread_mutex_lock(&v->lock);
    HASH_FIND_STR(v->entries, key, e);
    bool good = e != NULL && e->until > clock_monotonic();
    if (good) {
        *ret_verdict = e->verdict;
        if (size > 0)
            memcpy(ret_data, e->data, size);
    } else if (e != NULL) {
        drop_locked(v, e);
    }
    pthread_mutex_unlock(&v->lock);
    return good;
}

bool verdicts_get(struct verdicts *v, const char *key, int *ret_verdict)
{
    return verdicts_get_with(v, key, ret_verdict, NULL, 0);
}

void verdicts_drop(struct verdicts *v, const char *key)
{
    struct entry *e;
    pthread_mutex_lock(&v->lock);
    HASH_FIND_STR(v->entries, key, e);
    if (e != NULL)
        drop_locked(v, e);
    pthread_mutex_unlock(&v->lock);
}

void verdicts_drop_with(struct verdicts *v, const void *data, size_t size)
{
    struct entry *e, *next;
    pthread_mutex_lock(&v->lock);
    HASH_ITER(hh, v->entries, e, next) {
        if (memcmp(e->data, data, size) == 0)
            drop_locked(v, e);
    }
    pthread_mutex_unlock(&v->lock);
}

void verdicts_put_with(struct verdicts *v, const char *key, int verdict, const void *data, size_t size, int64_t until)
{
    struct entry *new = calloc(1, sizeof(*new) + size), *old;
    if (new == NULL)
        return;
    memcpy(new->key, key, VERDICT_KEY);
    new->verdict = verdict;
    new->until = until;
    if (size > 0)
        memcpy(new->data, data, size);
    pthread_mutex_lock(&v->lock);
    HASH_FIND_STR(v->entries, key, old);
    if (old != NULL)
        drop_locked(v, old);
    while (HASH_COUNT(v->entries) >= VERDICTS_MAX)
        drop_locked(v, v->entries);
    HASH_ADD_STR(v->entries, key, new);
    pthread_mutex_unlock(&v->lock);
}

void verdicts_put(struct verdicts *v, const char *key, int verdict, int64_t until)
{
    verdicts_put_with(v, key, verdict, NULL, 0, until);
}

bool secret_same(const char *a, const char *b)
{
    char x[VERDICT_KEY], y[VERDICT_KEY];
    unsigned char different = 0;
    if (!verdict_key(a, NULL, x) || !verdict_key(b, NULL, y))
        return false;
    for (int i = 0; i < VERDICT_KEY; i++)
        different |= (unsigned char)(x[i] ^ y[i]);
    return different == 0;
}
