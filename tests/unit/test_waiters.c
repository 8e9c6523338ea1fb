/* SPDX-License-Identifier: Apache-2.0 */
/* Those who wait are woken once each, in their order, with their own status; they may go, or wait elsewhere, while that happens. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "image/waiters.h"

struct reader {
    struct waiter waiter; /* the first member */
    int number;
    struct waiters *elsewhere; /* it waits there once woken; NULL: it is freed */
};

static int order[8], statuses[8], woken;

static void note(struct waiter *w, int status)
{
    struct reader *r = (struct reader *)w;
    order[woken] = r->number;
    statuses[woken++] = status;
    if (r->elsewhere != NULL)
        TAILQ_INSERT_TAIL(r->elsewhere, w, link);
    else
        free(r);
}

static void park(struct waiters *list, int number, int status, struct waiters *elsewhere)
{
    struct reader *r = calloc(1, sizeof(*r));
    assert_non_null(r);
    *r = (struct reader){.waiter = {.wake = note, .status = status}, .number = number, .elsewhere = elsewhere};
    TAILQ_INSERT_TAIL(list, &r->waiter, link);
}

static void each_is_woken_with_its_own_status(void **state)
{
    struct waiters list = TAILQ_HEAD_INITIALIZER(list);
    (void)state;
    woken = 0;
    wake_all(&list); /* nobody is there */
    assert_int_equal(woken, 0);
    park(&list, 1, 0, NULL);
    park(&list, 2, -5, NULL);
    park(&list, 3, 0, NULL);
    wake_all(&list);
    assert_int_equal(woken, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(order[i], i + 1);
        assert_int_equal(statuses[i], i == 1 ? -5 : 0);
    }
    assert_true(TAILQ_EMPTY(&list));
}

static void who_is_woken_may_wait_elsewhere(void **state)
{
    struct waiters list = TAILQ_HEAD_INITIALIZER(list), other = TAILQ_HEAD_INITIALIZER(other);
    (void)state;
    woken = 0;
    park(&list, 1, 0, &other);
    park(&list, 2, 0, NULL);
    wake_all(&list);
    assert_int_equal(woken, 2);
    assert_true(TAILQ_EMPTY(&list));
    struct reader *r = (struct reader *)TAILQ_FIRST(&other);
    assert_int_equal(r->number, 1);
    r->elsewhere = NULL;
    r->waiter.status = -4;
    wake_all(&other);
    assert_int_equal(woken, 3);
    assert_int_equal(statuses[2], -4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_woken_with_its_own_status),
        cmocka_unit_test(who_is_woken_may_wait_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
