/* SPDX-License-Identifier: Apache-2.0 */
/* Where readers are: sequential ones are recognised, several side by side, and random ones do not look sequential. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "image/cursors.h"

#define KIB UINT64_C(1024)
#define MIB (KIB * KIB)
#define GIB (KIB * MIB)
#define STEP (128 * KIB)

static void a_sequential_reader_has_one_cursor(void **state)
{
    struct cursors c = {0};
    (void)state;
    assert_null(cursors_latest(&c));
    const struct cursor *p = cursors_note(&c, GIB, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    assert_int_equal(p->start, GIB);
    assert_int_equal(p->next, GIB + STEP);
    assert_int_equal(p->window, 0); /* one read is no stream */
    uint64_t window = CURSOR_WINDOW_MIN;
    for (uint64_t i = 1; i < 20; i++) {
        assert_ptr_equal(cursors_note(&c, GIB + i * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB), p);
        assert_int_equal(p->start, GIB);
        assert_int_equal(p->next, GIB + (i + 1) * STEP);
        assert_int_equal(p->window, window);
        window = window * CURSOR_WIDER < 8 * MIB ? window * CURSOR_WIDER : 8 * MIB;
    }
    assert_ptr_equal(cursors_latest(&c), p);
}

static void the_window_has_the_bound_of_the_configuration(void **state)
{
    struct cursors c = {0};
    const struct cursor *p = NULL;
    (void)state;
    for (uint64_t i = 0; i < 5; i++)
        p = cursors_note(&c, i * STEP, STEP, CURSOR_WINDOW_MIN, 0);
    assert_int_equal(p->window, 0); /* no read-ahead */
    for (uint64_t i = 5; i < 20; i++)
        p = cursors_note(&c, i * STEP, STEP, CURSOR_WINDOW_MIN, 300 * KIB);
    assert_int_equal(p->window, 300 * KIB);
}

/* The kernel's read-ahead has requests of one reader overtake each other. */
static void requests_that_overtake_are_one_reader(void **state)
{
    static const uint64_t order[] = {0, 2, 1, 3, 6, 5, 4, 7};
    struct cursors c = {0};
    (void)state;
    const struct cursor *p = cursors_note(&c, 0, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        assert_ptr_equal(cursors_note(&c, order[i] * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB), p);
    assert_int_equal(p->start, 0);
    assert_int_equal(p->next, 8 * STEP);
    assert_true(p->window >= CURSOR_WINDOW_MIN);
}

/* The same bytes again, or a jump within the slack, are no progress of a stream. */
static void what_is_no_stream_does_not_widen_the_window(void **state)
{
    struct cursors c = {0};
    (void)state;
    const struct cursor *p = cursors_note(&c, 0, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    cursors_note(&c, 0, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    assert_int_equal(p->window, 0);
    cursors_note(&c, 4 * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    assert_int_equal(p->next, 5 * STEP);
    assert_int_equal(p->window, 0);
    cursors_note(&c, 5 * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    assert_int_equal(p->window, CURSOR_WINDOW_MIN);
}

static void readers_side_by_side_do_not_disturb_each_other(void **state)
{
    struct cursors c = {0};
    const struct cursor *p[CURSORS];
    (void)state;
    for (uint64_t i = 0; i < CURSORS; i++)
        p[i] = cursors_note(&c, i * GIB, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    for (uint64_t n = 1; n < 10; n++) {
        for (uint64_t i = 0; i < CURSORS; i++)
            assert_ptr_equal(cursors_note(&c, i * GIB + n * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB), p[i]);
    }
    for (uint64_t i = 0; i < CURSORS; i++) {
        assert_int_equal(p[i]->next, i * GIB + 10 * STEP);
        assert_int_equal(p[i]->window, 8 * MIB);
    }
    assert_ptr_equal(cursors_latest(&c), p[CURSORS - 1]);
}

static void the_one_not_used_for_longest_is_forgotten(void **state)
{
    struct cursors c = {0};
    const struct cursor *p[CURSORS];
    (void)state;
    for (uint64_t i = 0; i < CURSORS; i++)
        p[i] = cursors_note(&c, i * GIB, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    cursors_note(&c, STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB); /* the first goes on: the second is the oldest */
    const struct cursor *newcomer = cursors_note(&c, 100 * GIB, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
    assert_ptr_equal(newcomer, p[1]);
    assert_int_equal(newcomer->start, 100 * GIB);
    assert_int_equal(newcomer->window, 0);
    assert_ptr_equal(cursors_note(&c, 2 * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB), p[0]);
}

/* Random places, far apart, never get a window: nothing would be read ahead for them. */
static void random_reads_get_no_window(void **state)
{
    struct cursors c = {0};
    uint64_t random = 1;
    (void)state;
    for (int i = 0; i < 2000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const struct cursor *p = cursors_note(&c, (random >> 33) % (16 * KIB) * 16 * MIB, 4 * KIB, CURSOR_WINDOW_MIN, 8 * MIB);
        assert_int_equal(p->window, 0);
        assert_int_equal(p->used, c.clock);
        assert_ptr_equal(cursors_latest(&c), p);
    }
}

/* Reading from the end to the start is not what a window beyond `next` is for. */
static void a_reader_that_goes_backwards_gets_no_window(void **state)
{
    struct cursors c = {0};
    (void)state;
    for (uint64_t i = 64; i > 0; i--)
        assert_int_equal(cursors_note(&c, i * STEP, STEP, CURSOR_WINDOW_MIN, 8 * MIB)->window, 0);
}

/* A long run leaves everything behind, each byte once, but for what lies right before its end. */
static void a_long_run_leaves_its_bytes_behind(void **state)
{
    struct cursors c = {0};
    uint64_t from = 0, to = GIB, offset;
    (void)state;
    for (uint64_t at = GIB; at < 2 * GIB; at += STEP) {
        const struct cursor *p = cursors_note(&c, at, STEP, CURSOR_WINDOW_MIN, 8 * MIB);
        uint64_t length = cursors_behind(&c, p, &offset);
        if (at + STEP < GIB + CURSOR_KEPT + CURSOR_DROP)
            assert_int_equal(length, 0);
        if (length == 0)
            continue;
        assert_int_equal(offset, to);
        to += length;
        from++;
        assert_true(to <= at + STEP - CURSOR_KEPT);
        assert_int_equal(cursors_behind(&c, p, &offset), 0);
    }
    assert_true(to >= 2 * GIB - CURSOR_KEPT - CURSOR_DROP);
    assert_true(from >= 100);
}

static void short_runs_and_random_reads_leave_nothing_behind(void **state)
{
    struct cursors c = {0};
    uint64_t random = 1, offset;
    (void)state;
    for (uint64_t run = 0; run < 20; run++)
        for (uint64_t at = 0; at < CURSOR_KEPT; at += STEP)
            assert_int_equal(cursors_behind(&c, cursors_note(&c, run * GIB + at, STEP, CURSOR_WINDOW_MIN, 8 * MIB), &offset), 0);
    for (int i = 0; i < 2000; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        const struct cursor *p = cursors_note(&c, (random >> 33) % (16 * KIB) * 16 * MIB, 4 * KIB, CURSOR_WINDOW_MIN, 8 * MIB);
        assert_int_equal(cursors_behind(&c, p, &offset), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sequential_reader_has_one_cursor),
        cmocka_unit_test(the_window_has_the_bound_of_the_configuration),
        cmocka_unit_test(requests_that_overtake_are_one_reader),
        cmocka_unit_test(what_is_no_stream_does_not_widen_the_window),
        cmocka_unit_test(readers_side_by_side_do_not_disturb_each_other),
        cmocka_unit_test(the_one_not_used_for_longest_is_forgotten),
        cmocka_unit_test(random_reads_get_no_window),
        cmocka_unit_test(a_reader_that_goes_backwards_gets_no_window),
        cmocka_unit_test(a_long_run_leaves_its_bytes_behind),
        cmocka_unit_test(short_runs_and_random_reads_leave_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
