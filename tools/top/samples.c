/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "top/samples.h"

#include <string.h>

#include "base/clock.h"
#include "common/find_mount.h"

static struct sample sample_of(const json_t *status, int64_t at)
{
    return (struct sample){
        .at = at,
        .hits = cache_status_number(status, "counters", "hits"),
        .misses = cache_status_number(status, "counters", "misses"),
        .bytes_fetched = cache_status_number(status, "counters", "bytes_fetched"),
        .backend_errors = cache_status_number(status, "counters", "backend_errors"),
        .evictions = cache_status_number(status, "counters", "evictions"),
    };
}

void samples_add(struct samples *s, const json_t *status, int64_t at)
{
    struct sample now = sample_of(status, at);
    const struct sample *last = s->count == 0 ? NULL : &s->ring[(s->next + SAMPLES - 1) % SAMPLES];
    if (last != NULL && (now.hits < s->latest.hits || now.misses < s->latest.misses || now.bytes_fetched < s->latest.bytes_fetched)) {
        memset(s, 0, sizeof(*s));
        last = NULL;
    }
    s->latest = now;
    if (last != NULL && at - last->at < SAMPLE_LEAST_S * NS_PER_S)
        return;
    s->ring[s->next] = now;
    s->next = (s->next + 1) % SAMPLES;
    s->count += s->count < SAMPLES;
}

bool samples_over(const struct samples *s, unsigned seconds, struct sample *ret, int64_t *ret_ns)
{
    const struct sample *from = NULL;
    for (size_t i = 1; i <= s->count; i++) { /* from the newest back; one that is a little too old will do */
        const struct sample *p = &s->ring[(s->next + SAMPLES - i) % SAMPLES];
        if (s->latest.at - p->at > (int64_t)(seconds + SAMPLE_LEAST_S) * NS_PER_S)
            break;
        from = p;
    }
    if (from == NULL || from->at == s->latest.at)
        return false;
    *ret = (struct sample){
        .at = s->latest.at,
        .hits = s->latest.hits - from->hits,
        .misses = s->latest.misses - from->misses,
        .bytes_fetched = s->latest.bytes_fetched - from->bytes_fetched,
        .backend_errors = s->latest.backend_errors - from->backend_errors,
        .evictions = s->latest.evictions - from->evictions,
    };
    *ret_ns = s->latest.at - from->at;
    return true;
}
