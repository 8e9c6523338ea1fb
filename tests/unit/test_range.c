/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges and entity tags. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/http/range.h"

static void expect_one(const char *value, uint64_t size, uint64_t first, uint64_t last)
{
    uint64_t a = 0, b = 0;
    assert_int_equal(range_parse(value, size, &a, &b), RANGE_ONE);
    assert_int_equal(a, first);
    assert_int_equal(b, last);
}

static void expect_other(const char *value, uint64_t size, enum range_verdict verdict)
{
    uint64_t a = 7, b = 7;
    assert_int_equal(range_parse(value, size, &a, &b), verdict);
    assert_int_equal(a, 7);
    assert_int_equal(b, 7);
}

static void one_range(void **state)
{
    (void)state;
    expect_one("bytes=0-0", 1, 0, 0);
    expect_one("bytes=0-499", 1000, 0, 499);
    expect_one("Bytes=500-", 1000, 500, 999);
    expect_one("bytes=500-99999999999999999999999999", 1000, 500, 999);
    expect_one("bytes=999-999", 1000, 999, 999);
    expect_one("bytes= 1-2 ", 1000, 1, 2);
    expect_one("bytes=,1-2,", 1000, 1, 2);
    expect_one("bytes=0-", UINT64_C(1) << 40, 0, (UINT64_C(1) << 40) - 1);
}

static void suffixes(void **state)
{
    (void)state;
    expect_one("bytes=-1", 1000, 999, 999);
    expect_one("bytes=-1000", 1000, 0, 999);
    expect_one("bytes=-5000", 1000, 0, 999);
    expect_one("bytes=-99999999999999999999999", 10, 0, 9);
    expect_other("bytes=-0", 1000, RANGE_UNSATISFIABLE);
    expect_other("bytes=-1", 0, RANGE_UNSATISFIABLE);
}

static void beyond_the_end(void **state)
{
    (void)state;
    expect_other("bytes=1000-", 1000, RANGE_UNSATISFIABLE);
    expect_other("bytes=1000-2000", 1000, RANGE_UNSATISFIABLE);
    expect_other("bytes=0-", 0, RANGE_UNSATISFIABLE);
    expect_other("bytes=2000-3000,-0", 1000, RANGE_UNSATISFIABLE);
    expect_other("bytes=18446744073709551615-", 1000, RANGE_UNSATISFIABLE);
    expect_other("bytes=99999999999999999999999-", 1000, RANGE_UNSATISFIABLE);
}

static void several(void **state)
{
    (void)state;
    expect_other("bytes=0-1,3-4", 1000, RANGE_SEVERAL);
    expect_other("bytes=0-1,5000-", 1000, RANGE_SEVERAL);
}

static void what_is_no_range_is_not_one(void **state)
{
    static const char *const values[] = {"", "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=1", "bytes=2-1", "bytes=1-2x",
                                         "bytes=1--2", "bytes=--1", "bytes=0x1-2", "items=0-1", "bytes=1 -2", "bytes=1-2;3-4", "0-1",
                                         "bytes=+1-2", "bytes=1-2,x"};
    (void)state;
    expect_other(NULL, 1000, RANGE_NONE);
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
        expect_other(values[i], 1000, RANGE_NONE);
}

static void expect_etag(const char *text, const char *wanted)
{
    char etag[64];
    assert_int_equal(etag_make(text, etag, sizeof(etag)), wanted[0] != '\0');
    assert_string_equal(etag, wanted);
}

static void etags_are_made(void **state)
{
    (void)state;
    expect_etag("abc", "\"abc\"");
    expect_etag("\"abc\"", "\"abc\"");
    expect_etag("W/\"abc\"", "W/\"abc\"");
    expect_etag("", "");
    expect_etag("\"\"", "");
    expect_etag("a\"b", "");
    expect_etag("a b", "");
    expect_etag("a\r\nX: y", "");
    expect_etag("\xc3\xa4", "");
    expect_etag("0123456789012345678901234567890123456789012345678901234567890123456789", "");
}

static void etags_are_compared(void **state)
{
    (void)state;
    assert_true(etag_listed("*", "\"a\""));
    assert_true(etag_listed("*", ""));
    assert_true(etag_listed("\"a\"", "\"a\""));
    assert_true(etag_listed("W/\"a\"", "\"a\""));
    assert_true(etag_listed("\"b\", \"a\"", "\"a\""));
    assert_true(etag_listed("\"b\",W/\"a\"", "W/\"a\""));
    assert_false(etag_listed("\"ab\"", "\"a\""));
    assert_false(etag_listed("\"b\"", "\"a\""));
    assert_false(etag_listed("a", "\"a\""));
    assert_false(etag_listed("\"a", "\"a\""));
    assert_false(etag_listed("\"a\"", ""));
    assert_false(etag_listed("", "\"a\""));
    assert_true(etag_same("\"a\"", "\"a\""));
    assert_false(etag_same("W/\"a\"", "W/\"a\""));
    assert_false(etag_same("Sun, 22 Nov 2026 05:05:32 GMT", "\"a\""));
    assert_false(etag_same("", ""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_range), cmocka_unit_test(suffixes), cmocka_unit_test(beyond_the_end), cmocka_unit_test(several),
        cmocka_unit_test(what_is_no_range_is_not_one), cmocka_unit_test(etags_are_made), cmocka_unit_test(etags_are_compared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
