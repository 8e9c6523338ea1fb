/* SPDX-License-Identifier: Apache-2.0 */
/* What to fetch next: gaps, one by one and against a look at every chunk; how long a request is; how long a wait. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/backoff.h"
#include "engine/fetch/plan.h"

#define CHUNK ((uint64_t)CHUNK_MIN)
#define MIB (UINT64_C(1) << 20)

/* HERE: a character a chunk, '#' for one that is here. The image ends SHORT bytes before its last chunk would. */
static struct chunkmap *map_of(const char *here, uint64_t short_by)
{
    struct chunkmap *map;
    uint64_t chunks = 0;
    while (here[chunks] != '\0')
        chunks++;
    assert_int_equal(chunkmap_new(chunks * CHUNK - short_by, &map), 0);
    for (uint64_t c = 0; c < chunks; c++) {
        if (here[c] == '#')
            chunkmap_set(map, c);
    }
    return map;
}

static void expect_gap(const struct chunkmap *map, const struct span *busy, size_t count, uint64_t from, uint64_t to, uint64_t max,
                       uint64_t first, uint64_t end)
{
    struct span gap = {7, 7};
    assert_true(plan_gap(map, busy, count, from, to, max, &gap));
    assert_int_equal(gap.first, first);
    assert_int_equal(gap.end, end);
}

static void expect_none(const struct chunkmap *map, const struct span *busy, size_t count, uint64_t from, uint64_t to)
{
    struct span gap = {7, 7};
    assert_false(plan_gap(map, busy, count, from, to, UINT64_MAX, &gap));
    assert_int_equal(gap.first, 7);
    assert_int_equal(gap.end, 7);
}

static void a_gap_ends_where_bytes_are_here(void **state)
{
    struct chunkmap *map = map_of("##...#..", 10);
    uint64_t size = 8 * CHUNK - 10;
    (void)state;
    expect_gap(map, NULL, 0, 0, size, UINT64_MAX, 2 * CHUNK, 5 * CHUNK);
    expect_gap(map, NULL, 0, 3 * CHUNK + 5, size, UINT64_MAX, 3 * CHUNK, 5 * CHUNK); /* whole chunks */
    expect_gap(map, NULL, 0, 5 * CHUNK, size, UINT64_MAX, 6 * CHUNK, size);         /* the last one is short */
    expect_gap(map, NULL, 0, 5 * CHUNK, UINT64_MAX, UINT64_MAX, 6 * CHUNK, size);
    expect_none(map, NULL, 0, 0, 2 * CHUNK);
    expect_none(map, NULL, 0, size, UINT64_MAX);
    expect_none(map, NULL, 0, 3 * CHUNK, 3 * CHUNK);
    chunkmap_free(map);
}

static void a_gap_is_no_longer_than_asked(void **state)
{
    struct chunkmap *map = map_of("#.......", 0);
    (void)state;
    expect_gap(map, NULL, 0, 0, 8 * CHUNK, 0, CHUNK, 2 * CHUNK); /* never nothing */
    expect_gap(map, NULL, 0, 0, 8 * CHUNK, CHUNK + 1, CHUNK, 3 * CHUNK);
    expect_gap(map, NULL, 0, 0, 8 * CHUNK, 3 * CHUNK, CHUNK, 4 * CHUNK);
    expect_gap(map, NULL, 0, 0, 8 * CHUNK, UINT64_MAX - 1, CHUNK, 8 * CHUNK);
    expect_gap(map, NULL, 0, 0, 2 * CHUNK + 1, UINT64_MAX, CHUNK, 3 * CHUNK); /* TO is rounded up */
    chunkmap_free(map);
}

static void what_is_under_way_is_not_asked_for_again(void **state)
{
    struct chunkmap *map = map_of("........", 1);
    uint64_t size = 8 * CHUNK - 1;
    const struct span busy[] = {{6 * CHUNK, size}, {2 * CHUNK, 3 * CHUNK}, {0, 2 * CHUNK}};
    (void)state;
    expect_gap(map, busy, 3, 0, size, UINT64_MAX, 3 * CHUNK, 6 * CHUNK);
    expect_gap(map, busy, 2, 0, size, UINT64_MAX, 0, 2 * CHUNK);
    expect_none(map, busy, 3, 6 * CHUNK, size);
    expect_none(map, busy, 3, 0, 3 * CHUNK);
    const struct span all = {0, size};
    expect_none(map, &all, 1, 0, size);
    chunkmap_free(map);
}

static void an_empty_image_has_no_gap(void **state)
{
    struct chunkmap *map = map_of("", 0);
    (void)state;
    expect_none(map, NULL, 0, 0, UINT64_MAX);
    chunkmap_free(map);
}

/* ---- random images: ask, as the fetch thread does, until nothing is left; each chunk comes once, whoever finishes when */

enum { CHUNKS = 70, UNDER_WAY = 6 };

static uint64_t random_state = 88172645463325252;

static uint64_t random_below(uint64_t n)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % n;
}

/* A range under way ends: its chunks are here. */
static void arrive(struct chunkmap *map, struct span *busy, size_t *count, unsigned asked[CHUNKS])
{
    size_t i = random_below(*count);
    for (uint64_t c = busy[i].first / CHUNK; c * CHUNK < busy[i].end; c++) {
        assert_false(chunkmap_test(map, c));
        chunkmap_set(map, c);
        asked[c]++;
    }
    busy[i] = busy[--*count];
}

static void every_chunk_is_asked_for_once(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct chunkmap *map;
        struct span busy[UNDER_WAY];
        unsigned asked[CHUNKS] = {0};
        size_t count = 0;
        uint64_t size = 1 + random_below(CHUNKS * CHUNK);
        assert_int_equal(chunkmap_new(size, &map), 0);
        while (!chunkmap_full(map)) {
            struct span gap;
            bool ask = count < UNDER_WAY && (count == 0 || random_below(3) > 0);
            uint64_t from = random_below(2) ? random_below(size) : 0;
            if (ask && plan_gap(map, busy, count, from, size, random_below(9 * CHUNK), &gap)) {
                assert_true(gap.first % CHUNK == 0 && gap.first < gap.end && (gap.end % CHUNK == 0 || gap.end == size));
                busy[count++] = gap;
            } else if (count > 0) {
                arrive(map, busy, &count, asked);
            }
        }
        assert_int_equal(count, 0);
        for (uint64_t c = 0; c < chunkmap_chunks(map); c++)
            assert_int_equal(asked[c], 1);
        chunkmap_free(map);
    }
}

/* ---- lengths and waits */

static void a_request_is_as_long_as_its_wait_is_worth(void **state)
{
    (void)state;
    assert_int_equal(plan_segment(0, 0), 2 * MIB);
    assert_int_equal(plan_segment(MIB, NS_PER_S / 100), 2 * MIB);
    assert_int_equal(plan_segment(20 * MIB, NS_PER_MS), 5 * MIB);      /* a quarter of a second */
    assert_int_equal(plan_segment(10 * MIB, NS_PER_S / 10), 16 * MIB); /* 100 ms: 1 MiB passes in it */
    assert_int_equal(plan_segment(1000 * MIB, NS_PER_S), 64 * MIB);
    assert_int_equal(plan_segment(UINT64_MAX, INT64_MAX), 64 * MIB);
    assert_int_equal(plan_segment(MIB, -NS_PER_S), 2 * MIB); /* a clock that went back */
}

static void a_window_covers_the_wait(void **state)
{
    const uint64_t kib = 1024;
    (void)state;
    assert_int_equal(plan_window(0, 128 * kib, 4 * MIB), 128 * kib);
    assert_int_equal(plan_window(-5, 128 * kib, 4 * MIB), 128 * kib);
    assert_int_equal(plan_window(NS_PER_MS / 2, 128 * kib, 4 * MIB), 128 * kib);
    assert_int_equal(plan_window(10 * NS_PER_MS, 128 * kib, 4 * MIB), 1000000);
    assert_int_equal(plan_window(NS_PER_S, 128 * kib, 4 * MIB), 4 * MIB);
}

static void waits_double_and_end(void **state)
{
    (void)state;
    assert_int_equal(backoff_ms(250, 1, 0), 250 - 62);
    assert_int_equal(backoff_ms(250, 1, 62), 250);
    assert_int_equal(backoff_ms(250, 2, 125), 500);
    assert_int_equal(backoff_ms(250, 1000000000, 2500), 10000);
    assert_int_equal(backoff_ms(UINT64_MAX, 5, 0), 7500);
    assert_int_equal(backoff_ms(0, 9, 12345), 0);
    for (uint32_t random = 0; random < 1000; random++) {
        uint64_t delay = backoff_ms(250, 4, random * 4294967);
        assert_in_range(delay, 1500, 2000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gap_ends_where_bytes_are_here),
        cmocka_unit_test(a_gap_is_no_longer_than_asked),
        cmocka_unit_test(what_is_under_way_is_not_asked_for_again),
        cmocka_unit_test(an_empty_image_has_no_gap),
        cmocka_unit_test(every_chunk_is_asked_for_once),
        cmocka_unit_test(a_request_is_as_long_as_its_wait_is_worth),
        cmocka_unit_test(a_window_covers_the_wait),
        cmocka_unit_test(waits_double_and_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
