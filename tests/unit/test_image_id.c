/* SPDX-License-Identifier: Apache-2.0 */
/* Which strings may name an image. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "image/id.h"

static void usual_names_are_valid(void **state)
{
    static const char *const names[] = {
        "6f1d8e3a-9e53-4b2f-8b0a-1f2d3c4b5a69",
        "debian-12.qcow2",
        "a",
        "-",
        "~",
        "x..y",
        "trailing.",
        "trailing ",
        " leading blank",
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(image_id_valid(names[i]));
}

static void metacharacters_of_others_are_valid(void **state)
{
    static const char *const names[] = {
        "%2e%2e", "%2F",  "a?b",       "a#b",          "a b",      "a&b=c",    "'; DROP TABLE image; --",
        "\"",     "a\\b", "*",         "[x]",          "{id}",     "a:b",      "a@b",
        "a;b",    "a%b",  "a\xc3\xa4", "\xe2\x82\xac", "\xff\xfe", "\xc2\x80", "<script>",
        "$(x)",   "`x`",
    };
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_true(image_id_valid(names[i]));
}

static void empty_dots_and_slashes_are_not(void **state)
{
    static const char *const names[] = {"",  ".",   "..", "...", ".hidden", ".lock", ".catalogue.db",
                                        "/", "a/b", "a/", "../x"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(image_id_valid(names[i]));
}

static void control_characters_are_not(void **state)
{
    (void)state;
    for (int c = 1; c < 256; c++) {
        char name[] = "aXb";
        name[1] = (char)c;
        assert_int_equal(image_id_valid(name), c >= 0x20 && c != 0x7f && c != '/');
    }
}

static void length_is_bounded(void **state)
{
    char name[IMAGE_ID_MAX + 2];
    (void)state;
    memset(name, 'a', sizeof name);
    name[IMAGE_ID_MAX + 1] = '\0';
    assert_false(image_id_valid(name));
    name[IMAGE_ID_MAX] = '\0';
    assert_true(image_id_valid(name));
}

static void names_of_the_cache_directory_are_reserved(void **state)
{
    static const char *const reserved[] = {"incomplete", "invalid",      "queue",        "lost+found",
                                           "cache.db",   "cache.db-wal", "cache.db-shm", "cache.db-journal"};
    char name[64];
    (void)state;
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        assert_false(image_id_valid(reserved[i]));
        snprintf(name, sizeof name, "%sx", reserved[i]);
        assert_true(image_id_valid(name));
        snprintf(name, sizeof name, "x%s", reserved[i]);
        assert_true(image_id_valid(name));
    }
    assert_true(image_id_valid("Incomplete"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usual_names_are_valid),
        cmocka_unit_test(metacharacters_of_others_are_valid),
        cmocka_unit_test(empty_dots_and_slashes_are_not),
        cmocka_unit_test(control_characters_are_not),
        cmocka_unit_test(length_is_bounded),
        cmocka_unit_test(names_of_the_cache_directory_are_reserved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
