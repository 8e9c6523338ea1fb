/* SPDX-License-Identifier: Apache-2.0 */
/* What keeps web pages out, and verdicts that are kept. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/access/guard.h"
#include "api/access/verdicts.h"
#include "base/clock.h"

static void hosts(void **state)
{
    static const char *const good[] = {"127.0.0.1", "127.0.0.1:9292", "[::1]:9292", "[::1]", "localhost", "LOCALHOST:1", "a.localhost",
                                       "10.1.2.3:80", "images.example.org:9292", "IMAGES.example.org"};
    static const char *const bad[] = {"", ":80", "evil.example", "evil.example:9292", "localhost.evil.example", "127.0.0.1.evil.example",
                                      "[::1", "[::1]x", "localhost:x", "127.0.0.1@evil", "127.1", "images.example.org.evil", "xlocalhost"};
    static char name[] = "images.example.org";
    char *names[] = {name};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(guard_host(good[i], names, 1));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(guard_host(bad[i], names, 1));
    assert_true(guard_host(NULL, names, 1));
    assert_false(guard_host("images.example.org", NULL, 0));
}

static void programs_are_not_concerned(void **state)
{
    (void)state;
    assert_null(guard_site(&(struct guard_request){.host = "h"}));
    assert_null(guard_site(&(struct guard_request){.host = "h", .change = true}));
}

static void browsers(void **state)
{
    (void)state;
    struct guard_request own = {.host = "h:1", .origin = "http://h:1", .fetch_site = "same-origin", .custom = "1", .change = true};
    assert_null(guard_site(&own));
    own.custom = NULL;
    assert_non_null(guard_site(&own));
    own.change = false;
    assert_null(guard_site(&own));
    assert_non_null(guard_site(&(struct guard_request){.host = "h:1", .origin = "http://h:2", .custom = "1", .change = true}));
    assert_non_null(guard_site(&(struct guard_request){.host = "h:1", .origin = "null"}));
    assert_non_null(guard_site(&(struct guard_request){.host = "h:1", .fetch_site = "cross-site"}));
    assert_non_null(guard_site(&(struct guard_request){.host = "h:1", .fetch_site = "same-site", .custom = "1", .change = true}));
    assert_non_null(guard_site(&(struct guard_request){.host = "h:1", .fetch_site = "none", .change = true}));
    struct guard_request link = {.host = "h:1", .fetch_site = "cross-site", .fetch_mode = "navigate", .page = true};
    assert_null(guard_site(&link));
    link.page = false;
    assert_non_null(guard_site(&link));
}

static void verdicts_are_kept_for_a_while(void **state)
{
    char a[VERDICT_KEY], b[VERDICT_KEY], c[VERDICT_KEY];
    int verdict = -1;
    struct verdicts *v = verdicts_new();
    (void)state;
    assert_true(verdict_key("ab", "c", a) && verdict_key("a", "bc", b) && verdict_key("ab", NULL, c));
    assert_string_not_equal(a, b);
    assert_string_not_equal(a, c);
    assert_false(verdicts_get(v, a, &verdict));
    verdicts_put(v, a, 1, clock_monotonic() + NS_PER_S * 100);
    verdicts_put(v, a, 2, clock_monotonic() + NS_PER_S * 100);
    verdicts_put(v, b, 3, clock_monotonic() - 1);
    assert_true(verdicts_get(v, a, &verdict));
    assert_int_equal(verdict, 2);
    assert_false(verdicts_get(v, b, &verdict));
    verdicts_free(v);
}

static void verdicts_are_bounded(void **state)
{
    char key[VERDICT_KEY], first[VERDICT_KEY], text[16];
    int verdict;
    struct verdicts *v = verdicts_new();
    (void)state;
    verdict_key("0", NULL, first);
    for (int i = 0; i <= VERDICTS_MAX; i++) {
        snprintf(text, sizeof(text), "%d", i);
        verdict_key(text, NULL, key);
        verdicts_put(v, key, i, INT64_MAX);
    }
    assert_true(verdicts_get(v, key, &verdict));
    assert_false(verdicts_get(v, first, &verdict));
    verdicts_free(v);
}

static void secrets(void **state)
{
    (void)state;
    assert_true(secret_same("token", "token"));
    assert_false(secret_same("token", "tokem"));
    assert_false(secret_same("token", "toke"));
    assert_false(secret_same("", "token"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts), cmocka_unit_test(programs_are_not_concerned), cmocka_unit_test(browsers),
        cmocka_unit_test(verdicts_are_kept_for_a_while), cmocka_unit_test(verdicts_are_bounded), cmocka_unit_test(secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
