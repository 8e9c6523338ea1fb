/* SPDX-License-Identifier: Apache-2.0 */
/* The least recently used among many: against a plain sort. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "pruner/oldest.h"

static void add(struct oldest *o, int64_t accessed, uint64_t bytes)
{
    char name[32];
    snprintf(name, sizeof(name), "%lld", (long long)accessed);
    assert_int_equal(oldest_add(o, name, accessed, (uint64_t)accessed, bytes), 0);
}

static void test_enough_and_no_more(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, 25, 1000);
    for (int i = 0; i < 100; i++)
        add(&o, (i * 37) % 100, 10);
    oldest_sort(&o);
    assert_int_equal(o.count, 3);
    assert_int_equal(o.bytes, 30);
    for (size_t i = 0; i < o.count; i++)
        assert_int_equal(o.heap[i].accessed, i);
    assert_string_equal(o.heap[2].name, "2");
    oldest_end(&o);
}

static void test_all_when_it_is_not_enough(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, UINT64_MAX, 1000);
    for (int i = 99; i >= 0; i--)
        add(&o, i, 1);
    oldest_sort(&o);
    assert_int_equal(o.count, 100);
    for (size_t i = 0; i < o.count; i++)
        assert_int_equal(o.heap[i].accessed, i);
    oldest_end(&o);
}

static void test_nothing_wanted(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, 0, 1000);
    for (int i = 0; i < 10; i++)
        add(&o, i, 1);
    assert_int_equal(o.count, 0);
    oldest_end(&o);
}

/* So many candidates at most: the oldest of all. */
static void test_bounded(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, UINT64_MAX, 10);
    for (int i = 0; i < 1000; i++)
        add(&o, (i * 7) % 1000, 1);
    oldest_sort(&o);
    assert_int_equal(o.count, 10);
    for (size_t i = 0; i < o.count; i++)
        assert_int_equal(o.heap[i].accessed, i);
    oldest_end(&o);
}

/* One without bytes makes no room: it goes only if it is older than what makes the room. */
static void test_empty_images(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, 5, 1000);
    for (int i = 0; i < 10; i++)
        add(&o, i, i % 2 ? 5 : 0);
    oldest_sort(&o);
    assert_int_equal(o.count, 2);
    assert_int_equal(o.heap[0].accessed, 0);
    assert_int_equal(o.heap[1].accessed, 1);
    oldest_end(&o);
}

static void test_equal_times(void **state)
{
    struct oldest o;
    (void)state;
    oldest_begin(&o, 3, 1000);
    for (uint64_t inode = 10; inode > 0; inode--)
        assert_int_equal(oldest_add(&o, "x", 5, inode, 1), 0);
    oldest_sort(&o);
    assert_int_equal(o.count, 3);
    for (size_t i = 0; i < o.count; i++)
        assert_int_equal(o.heap[i].inode, i + 1);
    oldest_end(&o);
}

struct pair {
    int64_t accessed;
    uint64_t bytes;
};

static int by_time(const void *a, const void *b)
{
    const struct pair *x = a, *y = b;
    return x->accessed < y->accessed ? -1 : x->accessed > y->accessed;
}

static void test_against_a_sort(void **state)
{
    enum { COUNT = 500, ROUNDS = 50 };
    static struct pair all[COUNT];
    (void)state;
    srand(7);
    for (int round = 0; round < ROUNDS; round++) {
        struct oldest o;
        uint64_t wanted = (uint64_t)rand() % 20000, sum = 0;
        oldest_begin(&o, wanted, 100000);
        for (int i = 0; i < COUNT; i++) {
            all[i] = (struct pair){.accessed = (int64_t)(rand() % 100000) * COUNT + i, .bytes = (uint64_t)rand() % 100 + 1};
            add(&o, all[i].accessed, all[i].bytes);
        }
        qsort(all, COUNT, sizeof(all[0]), by_time);
        oldest_sort(&o);
        size_t n = 0;
        for (; n < COUNT && sum < wanted; n++) {
            assert_int_equal(o.heap[n].accessed, all[n].accessed);
            sum += all[n].bytes;
        }
        assert_int_equal(o.count, n);
        oldest_end(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_enough_and_no_more), cmocka_unit_test(test_all_when_it_is_not_enough),
        cmocka_unit_test(test_nothing_wanted),     cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_empty_images),       cmocka_unit_test(test_equal_times),
        cmocka_unit_test(test_against_a_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
