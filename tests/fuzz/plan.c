/* SPDX-License-Identifier: Apache-2.0 */
/* What to fetch next, against a look at every chunk; and that asking until there is no gap fetches each missing chunk once. */
#include "config-auto.h"

#include "fuzz.h"

#include "base/backoff.h"
#include "engine/fetch/plan.h"

enum { CHUNKS = 24, SPANS = 4 };

struct model { bool here[CHUNKS], busy[CHUNKS]; uint64_t chunks; };

static bool slow_gap(const struct model *m, uint64_t size, uint64_t from, uint64_t to, uint64_t max, struct span *ret)
{
    to = to < size ? to : size;
    uint64_t c = from / CHUNK_MIN, length = 0, most = max / CHUNK_MIN + (max % CHUNK_MIN != 0);
    if (from >= to)
        return false;
    while (c < m->chunks && (m->here[c] || m->busy[c]))
        c++;
    if (c * CHUNK_MIN >= to)
        return false;
    while (c + length < m->chunks && !m->here[c + length] && !m->busy[c + length] && (c + length) * CHUNK_MIN < to &&
           length < (most > 0 ? most : 1))
        length++;
    *ret = (struct span){c * CHUNK_MIN, (c + length) * CHUNK_MIN < size ? (c + length) * CHUNK_MIN : size};
    return true;
}

static struct span span_of(uint64_t first, uint64_t count, uint64_t size)
{
    uint64_t end = (first + count) * CHUNK_MIN;
    return (struct span){first * CHUNK_MIN, end < size ? end : size};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct model m = {0};
    struct chunkmap *map;
    struct span busy[SPANS], gap, wanted;
    size_t busy_count = 0;
    uint64_t image = 1 + fuzz_number(&in, 3) % (CHUNKS * (uint64_t) CHUNK_MIN);
    assert(chunkmap_new(image, &map) == 0);
    m.chunks = chunkmap_chunks(map);
    uint64_t bits = fuzz_number(&in, 3);
    for (uint64_t c = 0; c < m.chunks; c++) {
        m.here[c] = bits >> c & 1;
        if (m.here[c])
            chunkmap_set(map, c);
    }
    for (uint64_t spans = fuzz_number(&in, 1) % (SPANS + 1); spans > 0; spans--) {
        uint64_t first = fuzz_number(&in, 1) % m.chunks, count = 1 + fuzz_number(&in, 1) % 5;
        busy[busy_count++] = span_of(first, count, image);
        for (uint64_t c = first; c < first + count && c < m.chunks; c++)
            m.busy[c] = true;
    }
    uint64_t from = fuzz_number(&in, 3), to = fuzz_number(&in, 3), max = fuzz_number(&in, 3);
    if (size % 3 == 0)
        to = max = UINT64_MAX;
    bool found = plan_gap(map, busy, busy_count, from, to, max, &gap);
    assert(found == slow_gap(&m, image, from, to, max, &wanted));
    assert(!found || (gap.first == wanted.first && gap.end == wanted.end));
    while (plan_gap(map, busy, busy_count, 0, image, 2 * CHUNK_MIN, &gap)) {
        for (uint64_t c = gap.first / CHUNK_MIN; c * CHUNK_MIN < gap.end; c++) {
            assert(!chunkmap_test(map, c) && !m.busy[c]);
            chunkmap_set(map, c);
        }
    }
    for (uint64_t c = 0; c < m.chunks; c++)
        assert(chunkmap_test(map, c) || m.busy[c]);
    uint64_t segment = plan_segment(from << 30, (int64_t) to);
    assert(segment >= 2 << 20 && segment <= 64 << 20);
    uint64_t delay = backoff_ms(max % 40000, (unsigned) from % 100, (uint32_t) to);
    assert(delay <= 30000);
    chunkmap_free(map);
    return 0;
}
