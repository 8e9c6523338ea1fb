/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing what to fetch next; arithmetic only. */
#include "config-auto.h"

#include "engine/fetch/plan.h"

#include "base/clock.h"

enum { SEGMENT_MIN = 2 << 20, SEGMENT_MAX = 64 << 20 };

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* The end of the busy span that CHUNK's first byte lies in; 0 when there is none. */
static uint64_t busy_until(const struct span *busy, size_t count, uint64_t offset)
{
    for (size_t i = 0; i < count; i++) {
        if (offset >= busy[i].first && offset < busy[i].end)
            return busy[i].end;
    }
    return 0;
}

static uint64_t next_busy(const struct span *busy, size_t count, uint64_t offset)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        if (busy[i].first > offset)
            next = min_u64(next, busy[i].first);
    }
    return next;
}

bool plan_gap(const struct chunkmap *map, const struct span *busy, size_t busy_count, uint64_t from, uint64_t to, uint64_t max,
              struct span *ret)
{
    uint64_t size = chunkmap_size(map), chunk = chunkmap_chunk_size(map);
    to = min_u64(to, size);
    if (from >= to)
        return false;
    for (uint64_t c = from / chunk;;) {
        c = chunkmap_next_missing(map, c);
        uint64_t first = c * chunk;
        if (first >= to)
            return false;
        uint64_t until = busy_until(busy, busy_count, first);
        if (until != 0) {
            c = (until + chunk - 1) / chunk;
            continue;
        }
        uint64_t end = min_u64(chunkmap_next_present(map, c) * chunk, next_busy(busy, busy_count, first));
        uint64_t want = (to + chunk - 1) / chunk * chunk;
        uint64_t most = (min_u64(max, size) + chunk - 1) / chunk * chunk;
        end = min_u64(min_u64(end, want), min_u64(first + (most ? most : chunk), size));
        *ret = (struct span){first, end};
        return true;
    }
}

uint64_t plan_segment(uint64_t rate, int64_t wait)
{
    double bytes = (double)rate * (double)wait / (double)NS_PER_S * 16;
    if (bytes < (double)(rate / 4))
        bytes = (double)(rate / 4);
    if (bytes < (double)SEGMENT_MIN)
        return SEGMENT_MIN;
    return bytes > (double)SEGMENT_MAX ? SEGMENT_MAX : (uint64_t)bytes;
}

uint64_t plan_window(int64_t wait, uint64_t least, uint64_t most)
{
    enum { BYTES_PER_US = 100 };
    uint64_t bytes = wait > 0 ? (uint64_t)wait / 1000 * BYTES_PER_US : 0;
    return min_u64(bytes < least ? least : bytes, most);
}
