/* SPDX-License-Identifier: Apache-2.0 */
/* What to fetch next: gaps, how long a request should be, and where readers are. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "clock.h"
#include "cursors.h"
#include "plan.h"

enum { KIB = 1 << 10, MIB = 1 << 20, CHUNK = 64 << 10 };

static void gaps_end_where_bytes_are_or_will_be(void **state)
{
    (void)state;
    struct chunkmap *map;
    struct span gap, busy[] = {{6 * CHUNK, 8 * CHUNK}};
    assert_int_equal(chunkmap_new(10 * CHUNK + 5, &map), 0);
    chunkmap_set(map, 0);
    chunkmap_set(map, 3);
    assert_true(plan_gap(map, busy, 1, 0, 10 * CHUNK, MIB, &gap));
    assert_int_equal(gap.first, CHUNK);
    assert_int_equal(gap.end, 3 * CHUNK);
    assert_true(plan_gap(map, busy, 1, 3 * CHUNK + 1, 10 * CHUNK, MIB, &gap));
    assert_int_equal(gap.first, 4 * CHUNK);
    assert_int_equal(gap.end, 6 * CHUNK);
    assert_true(plan_gap(map, busy, 1, 6 * CHUNK, 11 * CHUNK, MIB, &gap));
    assert_int_equal(gap.first, 8 * CHUNK);
    assert_int_equal(gap.end, 10 * CHUNK + 5);
    assert_true(plan_gap(map, busy, 1, CHUNK, 10 * CHUNK, 1, &gap)); /* never less than a chunk */
    assert_int_equal(gap.end, 2 * CHUNK);
    assert_false(plan_gap(map, busy, 1, 6 * CHUNK, 8 * CHUNK, MIB, &gap));
    assert_false(plan_gap(map, busy, 1, 10 * CHUNK + 5, 11 * CHUNK, MIB, &gap));
    chunkmap_free(map);
}

static void requests_are_as_long_as_asking_costs(void **state)
{
    (void)state;
    assert_int_equal(plan_segment(0, 0), 2 * MIB);
    assert_int_equal(plan_segment(1 * MIB, 10 * NS_PER_MS), 2 * MIB);
    assert_int_equal(plan_segment(20 * MIB, NS_PER_MS), 5 * MIB);         /* a quarter of a second */
    assert_in_range(plan_segment(20 * MIB, 50 * NS_PER_MS), 15 * MIB, 17 * MIB); /* 16 waits */
    assert_int_equal(plan_segment(1000ull * MIB, 20 * NS_PER_MS), 64 * MIB);
}

static void a_window_covers_the_wait(void **state)
{
    (void)state;
    assert_int_equal(plan_window(0, 128 * KIB, 4 * MIB), 128 * KIB);
    assert_int_equal(plan_window(NS_PER_MS / 2, 128 * KIB, 4 * MIB), 128 * KIB);
    assert_int_equal(plan_window(10 * NS_PER_MS, 128 * KIB, 4 * MIB), 1000000);
    assert_int_equal(plan_window(NS_PER_S, 128 * KIB, 4 * MIB), 4 * MIB);
}

static void delays_double_up_to_half_a_minute(void **state)
{
    (void)state;
    for (unsigned random = 0; random < 100; random += 33) {
        assert_in_range(plan_backoff(250, 1, random), 188, 250);
        assert_in_range(plan_backoff(250, 3, random), 750, 1000);
        assert_in_range(plan_backoff(250, 100, random), 22500, 30000);
    }
}

static void only_sequential_readers_have_a_window(void **state)
{
    (void)state;
    struct cursors c = {0};
    assert_int_equal(cursors_note(&c, 0, 4096, MIB, 8 * MIB)->window, 0);
    assert_int_equal(cursors_note(&c, 100 * MIB, 4096, MIB, 8 * MIB)->window, 0); /* another reader, or a jump */
    assert_int_equal(cursors_note(&c, 4096, 4096, MIB, 8 * MIB)->window, MIB);
    assert_int_equal(cursors_note(&c, 4096, 4096, MIB, 8 * MIB)->window, MIB); /* the same again */
    assert_int_equal(cursors_note(&c, 8192, 4096, MIB, 8 * MIB)->window, 2 * MIB);
    for (unsigned i = 3; i < 9; i++)
        cursors_note(&c, i * 4096, 4096, MIB, 8 * MIB);
    assert_int_equal(cursors_latest(&c)->window, 8 * MIB);
    assert_int_equal(cursors_latest(&c)->next, 9 * 4096);
    cursors_note(&c, 50 * MIB, 4096, MIB, 64 * KIB);
    assert_int_equal(cursors_note(&c, 50 * MIB + 4096, 4096, MIB, 64 * KIB)->window, 64 * KIB); /* read_ahead_max */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_end_where_bytes_are_or_will_be),
        cmocka_unit_test(requests_are_as_long_as_asking_costs),
        cmocka_unit_test(a_window_covers_the_wait),
        cmocka_unit_test(delays_double_up_to_half_a_minute),
        cmocka_unit_test(only_sequential_readers_have_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
