/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is late; arithmetic only. */
#include "config-auto.h"

#include "engine/fetch/late.h"

#include "base/clock.h"

enum { FADE_AT = 4000, LEAST_MS = 5, FIRST_OCTAVE = 10 /* 1024 µs */ };

static const double share = 0.02, saved_most = 4;

static unsigned bucket_of(int64_t waited)
{
    uint64_t us = waited > 0 ? (uint64_t)waited / 1000 : 0;
    if (us < UINT64_C(1) << FIRST_OCTAVE)
        return 0;
    unsigned octave = 63 - (unsigned)__builtin_clzll(us) - FIRST_OCTAVE;
    if (octave >= LATE_OCTAVES)
        return LATE_BUCKETS - 1;
    return octave * 8 + (unsigned)(us >> (octave + FIRST_OCTAVE - 3) & 7);
}

static int64_t end_of(unsigned bucket)
{
    return (int64_t)(8 + bucket % 8 + 1) << (bucket / 8 + FIRST_OCTAVE - 3);
}

void late_note(struct late *l, int64_t waited)
{
    l->counts[bucket_of(waited)]++;
    l->budget = l->budget + share < saved_most ? l->budget + share : saved_most;
    if (++l->total < FADE_AT)
        return;
    l->total = 0;
    for (unsigned i = 0; i < LATE_BUCKETS; i++) {
        l->counts[i] /= 2;
        l->total += l->counts[i];
    }
}

int64_t late_after(const struct late *l)
{
    uint32_t beyond = l->total / 100, seen = 0;
    unsigned i = LATE_BUCKETS;
    if (l->total < LATE_KNOWN)
        return 0;
    while (i > 0 && seen + l->counts[i - 1] <= beyond)
        seen += l->counts[--i];
    int64_t ns = i > 0 ? end_of(i - 1) * 1000 : 0;
    return ns > LEAST_MS * NS_PER_MS ? ns : LEAST_MS * NS_PER_MS;
}

bool late_take(struct late *l, int64_t now)
{
    if (l->budget < 1 && (l->taken_at == 0 || now - l->taken_at < NS_PER_S))
        return false;
    l->budget = l->budget < 1 ? 0 : l->budget - 1;
    l->taken_at = now;
    return true;
}

void late_spare(struct late *l)
{
    l->budget = l->budget + 1 < saved_most ? l->budget + 1 : saved_most;
}
