/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked for next: for who waits, ahead of who reads in order, and all of it. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/clock.h"
#include "engine/fetch/choose.h"
#include "engine/fetch/reach.h"
#include "engine/fetch/yield.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (100 * MIB)

static struct chunkmap *map;
static struct cursors cursors;
static struct waiters waiters;
static struct waiter readers[4];

/* Nothing of an image of SIZE is here, nobody waits and nobody reads. */
static int begin(void **state)
{
    (void)state;
    memset(&cursors, 0, sizeof(cursors));
    TAILQ_INIT(&waiters);
    return chunkmap_new(SIZE, &map);
}

static int end(void **state)
{
    (void)state;
    chunkmap_free(map);
    return 0;
}

static struct choice choice_of(bool whole)
{
    return (struct choice){.map = map, .cursors = &cursors, .waiters = &waiters, .whole = whole};
}

static void wait_for(int reader, uint64_t offset, uint64_t length)
{
    readers[reader] = (struct waiter){.offset = offset, .length = length};
    TAILQ_INSERT_TAIL(&waiters, &readers[reader], link);
}

static void here(uint64_t from, uint64_t to)
{
    for (uint64_t c = from / chunkmap_chunk_size(map); c < to / chunkmap_chunk_size(map); c++)
        chunkmap_set(map, c);
}

/* Somebody has read [FROM, TO) in order. */
static const struct cursor *read_in_order(uint64_t from, uint64_t to)
{
    const struct cursor *p = NULL;
    for (uint64_t at = from; at < to; at += 128 << 10)
        p = cursors_note(&cursors, at, 128 << 10, 1 * MIB, 8 * MIB);
    return p;
}

static void expect(bool found, const struct span *span, uint64_t first, uint64_t last)
{
    assert_true(found);
    assert_int_equal(span->first, first);
    assert_int_equal(span->end, last);
}

static void who_waits_gets_what_is_missing(void **state)
{
    struct choice c = choice_of(false);
    struct span span;
    uint64_t outlook = 0;
    (void)state;
    choose_lengths(&c, 0, 0, 0);
    assert_false(choose_demand(&c, &outlook, &span));
    wait_for(0, 10 * MIB, 1 * MIB);
    wait_for(1, 50 * MIB, 1 * MIB);
    here(10 * MIB, 11 * MIB); /* the first waits for a digest only */
    c.parked = 2;
    expect(choose_demand(&c, &outlook, &span), &span, 50 * MIB, 51 * MIB);
}

static void what_is_on_its_way_is_not_asked_for_again(void **state)
{
    struct choice c = choice_of(false);
    struct span span;
    uint64_t outlook = 0;
    (void)state;
    wait_for(0, 10 * MIB, 2 * MIB);
    c.parked = 1;
    choose_around(&c, 10 * MIB, 10 * MIB, 11 * MIB, true);
    choose_lengths(&c, 0, 0, 0);
    expect(choose_demand(&c, &outlook, &span), &span, 11 * MIB, 12 * MIB);
    choose_around(&c, 11 * MIB, 11 * MIB, 12 * MIB, true);
    assert_false(choose_demand(&c, &outlook, &span));
    assert_int_equal(c.demand, 2);
    assert_int_equal(c.claimed, 2 * MIB);
}

/* Thousands may wait: they are looked at again once somebody came, something arrived, or a request ended. */
static void nothing_to_ask_for_is_remembered_until_something_changes(void **state)
{
    struct choice c = choice_of(false), without = choice_of(false);
    struct span span;
    uint64_t outlook = 0;
    (void)state;
    wait_for(0, 10 * MIB, 1 * MIB);
    c.parked = without.parked = 1;
    choose_around(&c, 10 * MIB, 10 * MIB, 11 * MIB, true);
    assert_false(choose_demand(&c, &outlook, &span));
    uint64_t before = outlook;
    assert_int_not_equal(before, 0);
    wait_for(1, 70 * MIB, 1 * MIB);
    assert_false(choose_demand(&c, &outlook, &span)); /* the owner did not count it: it is not looked at */
    c.parked = 2;
    expect(choose_demand(&c, &outlook, &span), &span, 70 * MIB, 71 * MIB);
    expect(choose_demand(&without, &outlook, &span), &span, 10 * MIB, 11 * MIB); /* its request ended */
    c.through = true; /* what came may be gone again */
    outlook = before;
    c.parked = 1;
    expect(choose_demand(&c, &outlook, &span), &span, 70 * MIB, 71 * MIB);
}

static void one_image_has_so_many_requests_for_who_waits(void **state)
{
    struct choice c = choice_of(false);
    struct span span;
    uint64_t outlook = 0;
    (void)state;
    for (unsigned i = 0; i < DEMAND_PER_IMAGE; i++)
        choose_around(&c, i * MIB, i * MIB, (i + 1) * MIB, true);
    wait_for(0, 50 * MIB, 1 * MIB);
    assert_false(choose_demand(&c, &outlook, &span));
}

static void a_reader_in_order_gets_his_window_with_it(void **state)
{
    struct choice c = choice_of(false);
    struct span span;
    uint64_t outlook = 0;
    (void)state;
    const struct cursor *p = read_in_order(0, 4 * MIB);
    assert_int_equal(p->window, 8 * MIB);
    wait_for(0, 3 * MIB, 1 * MIB);
    c.parked = 1;
    expect(choose_demand(&c, &outlook, &span), &span, 3 * MIB, 12 * MIB);
    c.through = true; /* little, when nothing is kept */
    expect(choose_demand(&c, &outlook, &span), &span, 3 * MIB, 4 * MIB + THROUGH_AHEAD);
}

static void a_window_is_filled_once_half_of_it_is_used(void **state)
{
    struct choice c = choice_of(false);
    struct span span;
    (void)state;
    read_in_order(0, 4 * MIB);
    here(0, 9 * MIB); /* five of the eight beyond him */
    assert_false(choose_ahead(&c, 4, &span));
    read_in_order(4 * MIB, 6 * MIB);
    expect(choose_ahead(&c, 4, &span), &span, 9 * MIB, 14 * MIB);
    c.whole = true; /* that brings it anyhow */
    assert_false(choose_ahead(&c, 4, &span));
    c.whole = false;
    choose_around(&c, 20 * MIB, 20 * MIB, 30 * MIB, false);
    assert_false(choose_ahead(&c, 1, &span));
}

static void the_whole_begins_where_the_reader_is(void **state)
{
    struct choice c = choice_of(true);
    struct span span;
    (void)state;
    choose_lengths(&c, 0, 0, 0);
    expect(choose_whole(&c, 1, &span), &span, 0, c.segment);
    read_in_order(40 * MIB, 44 * MIB);
    expect(choose_whole(&c, 1, &span), &span, 44 * MIB, 44 * MIB + c.segment);
    here(44 * MIB, SIZE);
    expect(choose_whole(&c, 1, &span), &span, 0, c.segment);
    choose_around(&c, 0, 0, 10 * MIB, false);
    assert_false(choose_whole(&c, 1, &span)); /* as many as there may be */
    expect(choose_whole(&c, 2, &span), &span, 10 * MIB, 10 * MIB + c.segment);
    c.whole = false;
    assert_false(choose_whole(&c, 2, &span));
}

/* What one connection brings in a second is asked for at once, if what came before says that it will. */
static void the_rest_comes_in_one_request_when_that_is_soon(void **state)
{
    struct choice c = choice_of(true);
    struct span span;
    (void)state;
    here(0, 60 * MIB);
    choose_lengths(&c, 50 * MIB, 1 * NS_PER_MS, 60 * MIB);
    assert_int_equal(c.rest, 40 * MIB);
    assert_int_equal(c.segment, 40 * MIB);
    expect(choose_whole(&c, 1, &span), &span, 60 * MIB, SIZE);
    struct choice fresh = choice_of(true);
    choose_lengths(&fresh, 50 * MIB, 1 * NS_PER_MS, 5 * MIB); /* quick at first is no promise */
    assert_int_equal(fresh.segment, 20 * MIB);
    struct choice busy = choice_of(true);
    choose_around(&busy, 60 * MIB, 60 * MIB, 70 * MIB, false);
    choose_lengths(&busy, 50 * MIB, 1 * NS_PER_MS, 60 * MIB);
    assert_int_equal(busy.rest, 30 * MIB);
    assert_int_equal(busy.segment, plan_segment(50 * MIB, 1 * NS_PER_MS));
}

static void near_the_end_requests_are_shorter(void **state)
{
    struct choice c = choice_of(true);
    struct span span;
    (void)state;
    here(0, 88 * MIB);
    choose_lengths(&c, 40 * MIB, 100 * NS_PER_MS, 0);
    assert_int_equal(c.segment, 64 * MIB);
    expect(choose_whole(&c, 1, &span), &span, 88 * MIB, SIZE);
    assert_true(choose_whole(&c, 4, &span)); /* not below an eighth of what is worth a request */
    assert_int_equal(span.end - span.first, 8 * MIB);
}

static void a_window_is_what_an_answer_is_worth(void **state)
{
    struct choice c = choice_of(false);
    (void)state;
    const struct cursor *p = read_in_order(20 * MIB, 20 * MIB + (512 << 10));
    assert_int_equal(choose_window(&c, p), 8 * MIB); /* nothing is known yet */
    c.worth = 16 * MIB;
    assert_int_equal(choose_window(&c, p), 8 * MIB);
    c.worth = 3 * MIB; /* who began in the middle gets what is as dear as an answer */
    assert_int_equal(choose_window(&c, p), 3 * MIB);
    c.worth = 100 << 10;
    assert_int_equal(choose_window(&c, p), 256 << 10);
    p = read_in_order(0, 2 * MIB);
    c.worth = 3 * MIB; /* and who began at the start twice that */
    assert_int_equal(choose_window(&c, p), 6 * MIB);
    c.unread_most = 4 * MIB;
    c.unread = 1 * MIB;
    assert_int_equal(choose_window(&c, p), 3 * MIB);
    c.unread = 5 * MIB;
    assert_int_equal(choose_window(&c, p), 0);
    c.unread_most = 0;
    c.told = true;
    assert_int_equal(choose_window(&c, p), 0);
}

static void the_reach_is_the_rate_of_all_and_the_shortest_wait(void **state)
{
    struct reach r = {0};
    (void)state;
    reach_got(&r, MIB, NS_PER_S / 10, 1);
    assert_int_equal(reach_of(&r), 0); /* no wait is known */
    reach_waited(&r, NS_PER_S / 50);
    assert_in_range(reach_of(&r), MIB / 5, MIB / 5 + 2);
    for (int i = 0; i < 100; i++) {
        reach_got(&r, MIB / 16, NS_PER_S / 40, 4); /* the same link, shared by four */
        reach_waited(&r, NS_PER_S); /* behind others */
        reach_waited(&r, NS_PER_S / 50);
    }
    assert_in_range(reach_of(&r), MIB / 5 - MIB / 20, MIB / 5 + MIB / 20);
    assert_true(reach_worth(&r) > reach_of(&r)); /* 25 ms, not 20 */
    reach_got(&r, 1000, 1, 4); /* says nothing */
    assert_in_range(reach_of(&r), MIB / 5 - MIB / 20, MIB / 5 + MIB / 20);
    for (int i = 0; i < 200; i++)
        reach_waited(&r, NS_PER_S / 5); /* it is farther away now */
    assert_in_range(reach_of(&r), MIB, 3 * MIB);
}

static void the_background_gives_way_to_who_jumps(void **state)
{
    struct choice c = choice_of(true);
    struct yield y = {0};
    struct span span;
    (void)state;
    for (int i = 1; i < YIELD_JUMPS; i++)
        assert_false(yield_jumped(&y, i * NS_PER_S / 10));
    assert_false(yield_lasts(&y, NS_PER_S / 2));
    assert_true(yield_jumped(&y, NS_PER_S / 2)); /* it begins with the fourth */
    assert_false(yield_jumped(&y, NS_PER_S / 2));
    assert_true(yield_lasts(&y, NS_PER_S));
    assert_false(yield_lasts(&y, 2 * NS_PER_S));
    y.window = yield_window(3 * MIB, NS_PER_S); /* a link on which each of them waits for seconds */
    assert_true(yield_lasts(&y, 10 * NS_PER_S));
    assert_true(yield_window(0, 0) == NS_PER_S && yield_window(500 * MIB, NS_PER_S) == NS_PER_S && yield_window(1, NS_PER_S) == 30 * NS_PER_S);
    choose_lengths(&c, 100 * MIB, NS_PER_S / 50, 0);
    choose_little(&c); /* nothing is known of the link */
    assert_true(choose_whole(&c, 1, &span) && span.end - span.first >= 16 * MIB);
    c.reach = 300 << 10;
    choose_little(&c);
    assert_true(choose_whole(&c, 1, &span) && span.end - span.first <= 512 << 10);
    assert_true(choose_is_jump(&c, 5 * MIB));
    read_in_order(5 * MIB, 6 * MIB);
    assert_false(choose_is_jump(&c, 5 * MIB));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(who_waits_gets_what_is_missing),
        TEST(what_is_on_its_way_is_not_asked_for_again),
        TEST(nothing_to_ask_for_is_remembered_until_something_changes),
        TEST(one_image_has_so_many_requests_for_who_waits),
        TEST(a_reader_in_order_gets_his_window_with_it),
        TEST(a_window_is_filled_once_half_of_it_is_used),
        TEST(the_whole_begins_where_the_reader_is),
        TEST(the_rest_comes_in_one_request_when_that_is_soon),
        TEST(near_the_end_requests_are_shorter),
        TEST(a_window_is_what_an_answer_is_worth),
        TEST(the_background_gives_way_to_who_jumps),
        TEST(the_reach_is_the_rate_of_all_and_the_shortest_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
