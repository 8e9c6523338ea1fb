/* SPDX-License-Identifier: Apache-2.0 */
/* A ring of samples. */
#include "config-auto.h"

#include "api/calls/history.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct sample {
    long long when, hits, misses, fetched;
};

struct history {
    pthread_mutex_t lock;
    struct sample samples[HISTORY_SAMPLES]; /* protected by lock */
    size_t next, count;                     /* protected by lock */
};

struct history *history_new(void)
{
    struct history *h = calloc(1, sizeof(*h));
    if (h != NULL)
        pthread_mutex_init(&h->lock, NULL);
    return h;
}

void history_free(struct history *h)
{
    if (h != NULL)
        pthread_mutex_destroy(&h->lock);
    free(h);
}

void history_sample(struct history *h, const json_t *status)
{
    const json_t *counters = json_object_get(status, "counters");
    struct sample s = {
        .when = (long long)time(NULL),
        .hits = json_integer_value(json_object_get(counters, "hits")),
        .misses = json_integer_value(json_object_get(counters, "misses")),
        .fetched = json_integer_value(json_object_get(counters, "bytes_fetched")),
    };
    if (counters == NULL)
        return;
    pthread_mutex_lock(&h->lock);
    size_t last = (h->next + HISTORY_SAMPLES - 1) % HISTORY_SAMPLES;
    if (h->count == 0 || s.when - h->samples[last].when >= HISTORY_SECONDS) {
        h->samples[h->next] = s;
        h->next = (h->next + 1) % HISTORY_SAMPLES;
        h->count += h->count < HISTORY_SAMPLES;
    }
    pthread_mutex_unlock(&h->lock);
}

json_t *history_document(struct history *h)
{
    json_t *list = json_array();
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->count; i++) {
        const struct sample *s = &h->samples[(h->next + HISTORY_SAMPLES - h->count + i) % HISTORY_SAMPLES];
        json_array_append_new(list, json_pack("[I, I, I, I]", (json_int_t)s->when, (json_int_t)s->hits, (json_int_t)s->misses,
                                              (json_int_t)s->fetched));
    }
    pthread_mutex_unlock(&h->lock);
    return list;
}
