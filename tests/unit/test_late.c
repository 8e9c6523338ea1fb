/* SPDX-License-Identifier: Apache-2.0 */
/* When a request is late, and how many of those get a second one. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "engine/fetch/late.h"

#define MS ((int64_t)NS_PER_MS)

static void note(struct late *l, unsigned n, int64_t ms)
{
    while (n-- > 0)
        late_note(l, ms * MS);
}

static void a_few_tell_nothing(void **state)
{
    (void)state;
    struct late l = {0};
    note(&l, LATE_KNOWN - 1, 20);
    assert_int_equal(late_after(&l), 0);
    note(&l, 1, 20);
    assert_true(late_after(&l) > 20 * MS && late_after(&l) < 23 * MS);
}

static void one_in_a_hundred_is_later(void **state)
{
    (void)state;
    struct late l = {0};
    note(&l, 980, 30);
    note(&l, 10, 200); /* the 99th of 100 */
    note(&l, 10, 9000);
    assert_true(late_after(&l) > 200 * MS && late_after(&l) < 226 * MS);
    note(&l, 1000, 30);
    assert_true(late_after(&l) < 226 * MS);
}

static void what_was_long_ago_fades(void **state)
{
    (void)state;
    struct late l = {0};
    note(&l, 2000, 500);
    note(&l, 60000, 10);
    assert_true(late_after(&l) > 10 * MS && late_after(&l) < 12 * MS);
}

static void bounds(void **state)
{
    (void)state;
    struct late l = {0};
    note(&l, 200, 0);
    assert_int_equal(late_after(&l), 5 * MS); /* what is shorter is our own doing */
    late_note(&l, -1);
    late_note(&l, INT64_MAX);
    for (int i = 0; i < 300; i++)
        late_note(&l, INT64_MAX);
    assert_true(late_after(&l) > 60000 * MS);
}

static void two_in_a_hundred_get_a_second_one(void **state)
{
    (void)state;
    struct late l = {0};
    unsigned taken = 0;
    assert_false(late_take(&l, 5));
    for (int i = 0; i < 10000; i++) {
        note(&l, 1, 10);
        taken += late_take(&l, 5);
    }
    assert_in_range(taken, 199, 200);
    note(&l, 10000, 10); /* what was not used is not saved for long */
    for (taken = 0; late_take(&l, 5);)
        taken++;
    assert_in_range(taken, 3, 4);
    assert_false(late_take(&l, NS_PER_S));
    assert_true(late_take(&l, 5 + NS_PER_S)); /* nothing came for a second */
    assert_false(late_take(&l, 6 + NS_PER_S));
    late_spare(&l);
    assert_true(late_take(&l, 6 + NS_PER_S));
    assert_false(late_take(&l, 6 + NS_PER_S));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_tell_nothing), cmocka_unit_test(one_in_a_hundred_is_later), cmocka_unit_test(what_was_long_ago_fades),
        cmocka_unit_test(bounds),             cmocka_unit_test(two_in_a_hundred_get_a_second_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
