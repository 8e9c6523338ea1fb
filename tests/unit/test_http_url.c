/* SPDX-License-Identifier: Apache-2.0 */
/* The urls of a configuration, and the addresses made of them. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/http_url.h"

static void expect_url(const char *text, const char *name, const char *user_password, const char *id,
                       const char *expected)
{
    struct http_url u;
    const char *why;
    assert_int_equal(http_url_parse(text, true, &u, &why), 0);
    assert_string_equal(u.name, name);
    if (user_password)
        assert_string_equal(u.user_password, user_password);
    else
        assert_null(u.user_password);
    char *url = http_url_of(&u, id);
    assert_non_null(url);
    assert_string_equal(url, expected);
    free(url);
    http_url_clear(&u);
}

static void test_url(void **state)
{
    (void) state;
    expect_url("http://h", "http://h", NULL, "a", "http://h/a");
    expect_url("http://h:81/", "http://h:81/", NULL, "a b", "http://h:81/a%20b");
    expect_url("HTTPS://h/i/", "HTTPS://h/i/", NULL, "a", "HTTPS://h/i/a");
    expect_url("http://u:p%40w%2F@h/i", "http://h/i", "u:p@w/", "a", "http://h/i/a");
    expect_url("http://u@h", "http://h", "u:", "a", "http://h/a");
    expect_url("http://u:a@b@h/x@y", "http://h/x@y", "u:a@b", "a", "http://h/x@y/a");
    expect_url("https://[::1]:8443/v1/{id}/raw?token=secret", "https://[::1]:8443/v1/{id}/raw", NULL, "x",
               "https://[::1]:8443/v1/x/raw?token=secret");
    expect_url("http://h/get?img={id}&k=s", "http://h/get", NULL, "a&b=c", "http://h/get?img=a%26b%3Dc&k=s");
    expect_url("http://h/{id}", "http://h/{id}", NULL, "..%2f?#% \xc3\xbc", "http://h/..%252f%3F%23%25%20%C3%BC");
    expect_url("http://h/{id}", "http://h/{id}", NULL, "..", "http://h/%2E%2E");
    expect_url("http://h/{id}", "http://h/{id}", NULL, "{id}'; DROP TABLE", "http://h/%7Bid%7D%27%3B%20DROP%20TABLE");

    static const char *const bad[] = {
        "",
        "h/i",
        "ftp://h/",
        "http://",
        "http:///i",
        "http://u:p@/i",
        "http://:80/",
        "http://h/a b",
        "http://h/\x01",
        "http://h/#x",
        "http://{id}/x",
        "http://{id}.h/",
        "http://h/{id}/{id}",
        "http://h/?x=1",
        "http://u%0d%0aX:p@h/",
        "http://u%00:p@h/",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct http_url u;
        const char *why = NULL;
        assert_int_equal(http_url_parse(bad[i], true, &u, &why), -EINVAL);
        assert_non_null(why);
    }
    struct http_url u;
    const char *why = NULL;
    assert_int_equal(http_url_parse("http://h/{id}", false, &u, &why), -EINVAL);
}

static void test_url_folder(void **state)
{
    (void) state;
    static const struct { const char *url, *folder; } cases[] = {
        { "http://h", "http://h/" },     { "http://u:p@h/i/", "http://h/i/" }, { "http://h/i/{id}", "http://h/i/" },
        { "http://h/i/{id}/raw", NULL }, { "http://h/i/x-{id}", NULL },        { "http://h/?i=/{id}", NULL },
        { "http://h/{id}?x=1", NULL },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct http_url u;
        const char *why;
        char *folder = NULL;
        assert_int_equal(http_url_parse(cases[i].url, true, &u, &why), 0);
        assert_int_equal(http_url_folder(&u, &folder), cases[i].folder ? 0 : -ENOTSUP);
        if (cases[i].folder)
            assert_string_equal(folder, cases[i].folder);
        free(folder);
        http_url_clear(&u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_url),
        cmocka_unit_test(test_url_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
