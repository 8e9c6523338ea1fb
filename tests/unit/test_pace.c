/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections a whole fetch is worth: one while that is enough, more while more helps or patience ends. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/fetch/pace.h"

#define MB UINT64_C(1000000)
#define MS ((int64_t)NS_PER_MS)

static void it_begins_with_one_unless_that_is_clearly_too_little(void **state)
{
    (void)state;
    assert_int_equal(pace_first(0, 100000 * MB, 8), 1); /* nothing is known */
    assert_int_equal(pace_first(100 * MB, 400 * MB, 8), 1);
    assert_int_equal(pace_first(100 * MB, 404 * MB, 8), 8);
    assert_int_equal(pace_first(1, 0, 8), 1);
}

/* So many MB in the 100 ms since the last look, with LEFT MB to come. */
static void look(struct pace *p, uint64_t mb, uint64_t left)
{
    pace_look(p, p->looked_at + 100 * MS, p->fetched + mb * MB, left * MB, 8);
}

static void one_is_left_alone_while_the_rest_comes_within_a_second(void **state)
{
    struct pace p = {.lanes = 1, .looked_at = 5 * MS, .fetched = 7 * MB};
    (void)state;
    look(&p, 10, 100); /* 100 MB/s, 100 MB left */
    assert_int_equal(p.lanes, 1);
    assert_int_equal(p.looked_at, 105 * MS);
    assert_int_equal(p.fetched, 17 * MB);
    look(&p, 10, 101);
    assert_int_equal(p.lanes, 2);
}

static void more_come_at_once_while_they_help(void **state)
{
    struct pace p = {.lanes = 1, .looked_at = 5 * MS};
    (void)state;
    look(&p, 10, 1000);
    assert_int_equal(p.lanes, 2);
    look(&p, 20, 1000);
    assert_int_equal(p.lanes, 4);
    look(&p, 40, 1000);
    assert_int_equal(p.lanes, 8);
    look(&p, 80, 1000);
    assert_int_equal(p.lanes, 8); /* and no more than there may be */
}

static void what_did_not_help_is_tried_again_after_a_while(void **state)
{
    struct pace p = {.lanes = 1, .looked_at = 5 * MS};
    (void)state;
    look(&p, 10, 1000);
    assert_int_equal(p.lanes, 2);
    for (int i = 0; i < 5; i++) {
        look(&p, 10, 1000);
        assert_int_equal(p.lanes, 2);
    }
    look(&p, 10, 1000); /* 600 ms */
    assert_int_equal(p.lanes, 4);
}

static void an_odd_number_is_the_most(void **state)
{
    struct pace p = {.lanes = 2, .looked_at = 5 * MS};
    (void)state;
    pace_look(&p, 105 * MS, 0, MB, 3);
    assert_int_equal(p.lanes, 3);
}

static void waits_and_rates_are_smoothed(void **state)
{
    (void)state;
    assert_int_equal(pace_wait(0, 80 * MS), 80 * MS);
    assert_int_equal(pace_wait(80 * MS, 40 * MS), 70 * MS);
    assert_int_equal(pace_rate(0, 10 * MB, NS_PER_S), 10 * MB);
    assert_int_equal(pace_rate(10 * MB, 20 * MB, NS_PER_S), 15 * MB);
    assert_int_equal(pace_rate(10 * MB, 1000, 1), 10 * MB); /* too few bytes to say anything */
    assert_int_equal(pace_rate(10 * MB, 20 * MB, 0), 10 * MB);
    assert_int_equal(pace_rate(0, 1000, NS_PER_S), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_with_one_unless_that_is_clearly_too_little),
        cmocka_unit_test(one_is_left_alone_while_the_rest_comes_within_a_second),
        cmocka_unit_test(more_come_at_once_while_they_help),
        cmocka_unit_test(what_did_not_help_is_tried_again_after_a_while),
        cmocka_unit_test(an_odd_number_is_the_most),
        cmocka_unit_test(waits_and_rates_are_smoothed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
