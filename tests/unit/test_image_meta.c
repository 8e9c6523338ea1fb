/* SPDX-License-Identifier: Apache-2.0 */
/* When two descriptions are of the same version of an image. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "image/meta.h"

static const char sha256_a[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
static const char sha256_b[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
static const char md5_a[] = "900150983cd24fb0d6963f7d28e17f72";

static void set_digest(struct image_meta *meta, enum digest_algorithm algorithm, const char *hex)
{
    assert_int_equal(digest_set(algorithm, hex, strlen(hex), &meta->digest), 0);
}

static bool same(const struct image_meta *a, const struct image_meta *b)
{
    bool one = image_meta_same_version(a, b);
    assert_int_equal(image_meta_same_version(b, a), one);
    return one;
}

static void size_decides_first(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\""}, b = {.size = 6, .etag = "\"x\""};
    (void)state;
    set_digest(&a, DIGEST_SHA256, sha256_a);
    set_digest(&b, DIGEST_SHA256, sha256_a);
    assert_false(same(&a, &b));
    b.size = 5;
    assert_true(same(&a, &b));
}

static void nothing_to_compare_is_the_same(void **state)
{
    struct image_meta a = {.size = 5}, b = {.size = 5, .etag = "\"x\"", .modified = "Mon", .title = "other"};
    (void)state;
    assert_true(same(&a, &a));
    assert_true(same(&a, &b));
}

static bool evident(const struct image_meta *known, const char *etag, const char *modified, unsigned endpoint)
{
    struct image_meta told = {.size = known->size, .endpoint = endpoint};
    snprintf(told.etag, sizeof(told.etag), "%s", etag);
    snprintf(told.modified, sizeof(told.modified), "%s", modified);
    return image_meta_is_evident(known, &told);
}

static void same_without_evidence(void **state)
{
    const struct image_meta strong = {.size = 5, .etag = "\"x\"", .modified = "Mon"}, weak = {.size = 5, .etag = "W/\"x\""};
    const struct image_meta dated = {.size = 5, .modified = "Mon"}, bare = {.size = 5};
    (void)state;
    assert_true(evident(&strong, "\"x\"", "", 0) && evident(&strong, "\"x\"", "", 1) && evident(&strong, "W/\"x\"", "", 0));
    assert_false(evident(&strong, "\"y\"", "Mon", 0) || evident(&strong, "\"y\"", "Mon", 1) || evident(&strong, "W/\"x\"", "Mon", 1));
    assert_true(evident(&strong, "", "Mon", 0) && evident(&weak, "\"x\"", "", 0));
    assert_false(evident(&strong, "", "", 0) || evident(&strong, "", "Mon", 1) || evident(&weak, "W/\"x\"", "", 1));
    assert_true(evident(&dated, "", "Mon", 0));
    assert_false(evident(&dated, "", "Mon", 1) || evident(&dated, "", "Tue", 0) || evident(&dated, "\"x\"", "", 0));
    assert_true(evident(&bare, "", "", 0));
    assert_false(evident(&bare, "", "", 1) || evident(&bare, "\"x\"", "", 1) || evident(&bare, "\"x\"", "", 0));
}

static void a_digest_is_no_evidence_and_an_id_is(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\""}, b = {.size = 5, .etag = "\"y\"", .endpoint = 1};
    (void)state;
    set_digest(&a, DIGEST_SHA256, sha256_a);
    set_digest(&b, DIGEST_SHA256, sha256_a);
    assert_true(same(&a, &b));
    assert_false(image_meta_is_evident(&a, &b));
    b.id_is_version = true;
    assert_true(image_meta_is_evident(&a, &b));
    set_digest(&b, DIGEST_SHA256, sha256_b);
    assert_false(image_meta_is_evident(&a, &b));
}

static void digest_goes_before_etag(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\""}, b = {.size = 5, .etag = "\"y\""};
    (void)state;
    assert_false(same(&a, &b));
    set_digest(&a, DIGEST_SHA256, sha256_a);
    assert_false(same(&a, &b)); /* only one has a digest: the etag decides */
    set_digest(&b, DIGEST_SHA256, sha256_a);
    assert_true(same(&a, &b));
    set_digest(&b, DIGEST_SHA256, sha256_b);
    strcpy(b.etag, a.etag);
    assert_false(same(&a, &b));
}

static void digests_of_other_algorithms_say_nothing(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\""}, b = {.size = 5, .etag = "\"x\""};
    (void)state;
    set_digest(&a, DIGEST_SHA256, sha256_a);
    set_digest(&b, DIGEST_MD5, md5_a);
    assert_true(same(&a, &b));
    strcpy(b.etag, "\"y\"");
    assert_false(same(&a, &b));
}

static void etag_goes_before_modified(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\"", .modified = "Mon"},
                      b = {.size = 5, .etag = "\"x\"", .modified = "Tue"};
    (void)state;
    assert_true(same(&a, &b));
    b.etag[0] = '\0';
    assert_false(same(&a, &b));
    strcpy(b.modified, "Mon");
    assert_true(same(&a, &b));
}

static void other_endpoints_have_etags_of_their_own(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\"", .modified = "Mon", .endpoint = 0};
    struct image_meta b = {.size = 5, .etag = "\"y\"", .modified = "Tue", .endpoint = 1};
    (void)state;
    assert_true(same(&a, &b));
    set_digest(&a, DIGEST_SHA256, sha256_a);
    set_digest(&b, DIGEST_SHA256, sha256_b);
    assert_false(same(&a, &b));
}

static void weak_and_strong_name_one_version(void **state)
{
    struct image_meta a = {.size = 5, .etag = "\"x\""}, b = {.size = 5, .etag = "W/\"x\""};
    (void)state;
    assert_true(same(&a, &b));
    strcpy(b.etag, "W/\"y\"");
    assert_false(same(&a, &b));
}

static void only_strong_etags_are_for_if_match(void **state)
{
    struct image_meta meta = {.size = 5};
    (void)state;
    assert_null(image_meta_strong_etag(&meta));
    strcpy(meta.etag, "W/\"x\"");
    assert_null(image_meta_strong_etag(&meta));
    strcpy(meta.etag, "\"W/x\"");
    assert_string_equal(image_meta_strong_etag(&meta), "\"W/x\"");
}

static int64_t date(const char *text)
{
    struct image_meta meta = {.size = 1};
    snprintf(meta.modified, sizeof(meta.modified), "%s", text);
    return image_meta_date(&meta);
}

static void the_date_of_a_version(void **state)
{
    const int64_t when = INT64_C(784111777000000000);
    (void)state;
    assert_true(date("Sun, 06 Nov 1994 08:49:37 GMT") == when);
    assert_true(date("Sunday, 06-Nov-94 08:49:37 GMT") == when);
    assert_true(date("Sun Nov  6 08:49:37 1994") == when);
    static const char *const none[] = {"", "yesterday", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 GMT+1",
                                       "Thu, 01 Jan 1970 00:00:00 GMT", "Wed, 31 Dec 1969 23:59:59 GMT", "Fri, 01 Jan 9999 00:00:00 GMT"};
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_true(date(none[i]) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(size_decides_first),
        cmocka_unit_test(nothing_to_compare_is_the_same),
        cmocka_unit_test(same_without_evidence),
        cmocka_unit_test(a_digest_is_no_evidence_and_an_id_is),
        cmocka_unit_test(digest_goes_before_etag),
        cmocka_unit_test(digests_of_other_algorithms_say_nothing),
        cmocka_unit_test(etag_goes_before_modified),
        cmocka_unit_test(other_endpoints_have_etags_of_their_own),
        cmocka_unit_test(weak_and_strong_name_one_version),
        cmocka_unit_test(only_strong_etags_are_for_if_match),
        cmocka_unit_test(the_date_of_a_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
