/* SPDX-License-Identifier: Apache-2.0 */
/* When the keeper starts the next worker, and when it gives up. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "keeper/deaths.h"

/* One that came to serve, answered and lived for MS. */
static struct death served(int64_t ms)
{
    return (struct death){.lived = ms * NS_PER_MS, .served = true, .answered = true};
}

/* Milliseconds the next waits; -1: given up. */
static int64_t wait_after(struct deaths *d, struct death death)
{
    int64_t delay = -NS_PER_MS;
    assert_true(deaths_count(d, &death, &delay) || delay == -NS_PER_MS);
    return delay / NS_PER_MS;
}

static void nothing_served(void **state)
{
    static const int64_t waits[] = {10, 20, 40, 80, 160, 320, 640, -1};
    const struct death kinds[] = {
        {.lived = 0},                                        /* it did not come to serve */
        {.lived = 3600 * NS_PER_S},                          /* nor did this one, in an hour */
        {.lived = 0, .answered = true, .by_hand = true},     /* whatever was answered: by the one before */
        {.lived = 999 * NS_PER_MS, .served = true},          /* it could have served, and died at once */
    };
    (void)state;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct deaths d = {0};
        for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
            assert_int_equal(wait_after(&d, kinds[k]), waits[i]);
        assert_int_equal(d.early, 8);
    }
}

static void who_served_is_replaced_at_once(void **state)
{
    struct deaths d = {0};
    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(wait_after(&d, served(1000)), 0);
    assert_int_equal(d.quick, 0);
}

/* A request that kills each worker: for ever, without burning a processor. */
static void with_a_breath_when_that_goes_on(void **state)
{
    static const int64_t waits[] = {0, 0, 0, 40, 50, 60, 70, 80, 90, 100, 100, 100};
    struct deaths d = {0};
    (void)state;
    for (size_t i = 0; i < sizeof waits / sizeof *waits; i++)
        assert_int_equal(wait_after(&d, served(5)), waits[i]);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(wait_after(&d, served(5)), 100);
    assert_int_equal(wait_after(&d, served(1000)), 0); /* one that lived: from the start again */
    assert_int_equal(wait_after(&d, served(5)), 0);
}

static void killed_by_hand_says_nothing(void **state)
{
    struct deaths d = {0};
    const struct death killed = {.lived = 5 * NS_PER_MS, .served = true, .by_hand = true};
    (void)state;
    for (int i = 0; i < 50; i++)
        assert_true(wait_after(&d, killed) >= 0);
    assert_int_equal(d.early, 0);
}

static void one_that_served_makes_good(void **state)
{
    struct deaths d = {0};
    const struct death early = {.lived = 0};
    (void)state;
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 7; i++)
            assert_int_equal(wait_after(&d, early), 10 << i);
        assert_int_equal(wait_after(&d, served(1000)), 0);
    }
    for (int i = 0; i < 7; i++)
        wait_after(&d, early);
    assert_int_equal(wait_after(&d, early), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_served),
        cmocka_unit_test(who_served_is_replaced_at_once),
        cmocka_unit_test(with_a_breath_when_that_goes_on),
        cmocka_unit_test(killed_by_hand_says_nothing),
        cmocka_unit_test(one_that_served_makes_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
