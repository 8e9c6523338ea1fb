/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests a server takes at once: fewer when it refuses one more, more again after a while. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "origin/crowd.h"

#define S ((int64_t)NS_PER_S)

static void there_is_no_limit_at_first(void **state)
{
    (void)state;
    struct crowd c = {0};
    assert_true(crowd_has_room(&c, 1000, 0));
    crowd_answered(&c, 30, 5 * S);
    assert_true(crowd_has_room(&c, 1000, 0));
}

static void one_that_is_refused_leaves_the_others(void **state)
{
    (void)state;
    struct crowd c = {0};
    assert_true(crowd_refused(&c, 3, 0, 10 * S));
    assert_true(crowd_has_room(&c, 2, 10 * S));
    assert_false(crowd_has_room(&c, 3, 10 * S));
    assert_false(crowd_refused(&c, 1, 0, 10 * S));
    assert_true(crowd_has_room(&c, 0, 10 * S));
    assert_false(crowd_has_room(&c, 1, 10 * S));
    assert_false(crowd_refused(&c, 2, 0, 10 * S)); /* it does not become more by being refused */
    assert_false(crowd_has_room(&c, 1, 10 * S));
}

static void one_more_is_tried_after_a_pause_that_grows(void **state)
{
    (void)state;
    struct crowd c = {0};
    int64_t now = 0, pause = S;
    for (int i = 0; i < 10; i++) {
        crowd_refused(&c, 1, 0, now);
        assert_false(crowd_has_room(&c, 1, now + pause - 1));
        assert_true(crowd_has_room(&c, 1, now + pause));
        assert_false(crowd_has_room(&c, 2, now + pause)); /* one */
        now += pause;
        pause = pause * 2 < CROWD_PAUSE_MAX_S * S ? pause * 2 : CROWD_PAUSE_MAX_S * S;
    }
}

static void the_server_says_for_how_long(void **state)
{
    (void)state;
    struct crowd c = {0};
    crowd_refused(&c, 1, 5, 0);
    assert_false(crowd_has_room(&c, 1, 5 * S - 1));
    assert_true(crowd_has_room(&c, 1, 5 * S));
    crowd_refused(&c, 1, 3600, 0);
    assert_true(crowd_has_room(&c, 1, CROWD_PAUSE_MAX_S * S));
}

static void they_become_more_again(void **state)
{
    (void)state;
    struct crowd c = {0};
    int64_t now = 0;
    for (int i = 0; i < 5; i++)
        crowd_refused(&c, 1, 0, now);
    for (unsigned open = 1; open < 6; open++) {
        now = c.more_at;
        assert_true(crowd_has_room(&c, open, now));
        crowd_answered(&c, open + 1, now);
        assert_int_equal(c.most, open + 1);
        assert_true(c.more_at > now);
    }
    crowd_answered(&c, 2, now); /* fewer say nothing */
    assert_int_equal(c.most, 6);
    assert_true(c.more_at - now <= S);
    crowd_alone(&c);
    assert_true(crowd_has_room(&c, 100, now));
}

static void what_is_such_a_refusal(void **state)
{
    (void)state;
    assert_true(crowd_is_refusal(503, -EAGAIN) && crowd_is_refusal(429, -EAGAIN) && crowd_is_refusal(502, -EAGAIN) && crowd_is_refusal(509, -EAGAIN));
    assert_true(crowd_is_refusal(0, -ECONNREFUSED) && crowd_is_refusal(0, -ECONNRESET) && crowd_is_refusal(0, -ETIMEDOUT));
    assert_false(crowd_is_refusal(500, -EAGAIN) || crowd_is_refusal(404, -ENOENT) || crowd_is_refusal(206, -ECONNRESET) ||
                 crowd_is_refusal(0, -EKEYREJECTED) || crowd_is_refusal(403, -EACCES));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_is_no_limit_at_first),   cmocka_unit_test(one_that_is_refused_leaves_the_others),
        cmocka_unit_test(the_server_says_for_how_long), cmocka_unit_test(one_more_is_tried_after_a_pause_that_grows),
        cmocka_unit_test(they_become_more_again),       cmocka_unit_test(what_is_such_a_refusal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
