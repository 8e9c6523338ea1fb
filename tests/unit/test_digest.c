/* SPDX-License-Identifier: Apache-2.0 */
/* Digests against known values (RFC 1321, FIPS 180-4), fed whole and in pieces. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/digest.h"

static const struct {
    enum digest_algorithm algorithm;
    const char *name, *of_nothing, *of_abc, *of_million_a;
} known[] = {
    {DIGEST_MD5, "md5", "d41d8cd98f00b204e9800998ecf8427e", "900150983cd24fb0d6963f7d28e17f72",
     "7707d6ae4e027c70eea2a935c2296f21"},
    {DIGEST_SHA1, "sha1", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "a9993e364706816aba3e25717850c26c9cd0d89d",
     "34aa973cd4c4daa4f61eeb2bdbad27316534016f"},
    {DIGEST_SHA256, "sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
     "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
    {DIGEST_SHA384, "sha384",
     "38b060a751ac96384cd9327eb1b1e36a21fdb71114be07434c0cc7bf63f6e1da274edebfe76f65fbd51ad2f14898b95b",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
     "9d0e1809716474cb086e834e310a4a1ced149e9c00f248527972cec5704c2a5b07b8b3dc38ecc4ebae97ddd87f3d8985"},
    {DIGEST_SHA512, "sha512",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81"
     "a538327af927da3e",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e"
     "2a9ac94fa54ca49f",
     "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e"
     "4eadb217ad8cc09b"},
};

enum { KNOWN = sizeof known / sizeof known[0] };

/* The digest of LENGTH bytes, given PIECE at a time. */
static struct digest digest_of(enum digest_algorithm algorithm, const char *data, size_t length, size_t piece)
{
    struct digest_stream *stream;
    struct digest digest;
    assert_int_equal(digest_stream_new(algorithm, &stream), 0);
    for (size_t at = 0; at < length; at += piece)
        assert_int_equal(digest_stream_update(stream, data + at, length - at < piece ? length - at : piece), 0);
    assert_int_equal(digest_stream_finish(stream, &digest), 0);
    digest_stream_free(stream);
    assert_int_equal(digest.algorithm, algorithm);
    return digest;
}

static void known_values_come_out(void **state)
{
    static const size_t pieces[] = {1, 63, 64, 65, 4096, 1000000};
    char *million = malloc(1000000);
    (void)state;
    assert_non_null(million);
    memset(million, 'a', 1000000);
    for (int i = 0; i < KNOWN; i++) {
        assert_string_equal(digest_of(known[i].algorithm, "", 0, 1).hex, known[i].of_nothing);
        assert_string_equal(digest_of(known[i].algorithm, "abc", 3, 3).hex, known[i].of_abc);
        assert_string_equal(digest_of(known[i].algorithm, "abc", 3, 1).hex, known[i].of_abc);
        for (size_t p = 0; p < sizeof pieces / sizeof pieces[0]; p++)
            assert_string_equal(digest_of(known[i].algorithm, million, 1000000, pieces[p]).hex, known[i].of_million_a);
    }
    free(million);
}

static void names_go_both_ways(void **state)
{
    (void)state;
    for (int i = 0; i < KNOWN; i++) {
        assert_int_equal(digest_algorithm_by_name(known[i].name), known[i].algorithm);
        assert_string_equal(digest_algorithm_name(known[i].algorithm), known[i].name);
        assert_int_equal(digest_hex_length(known[i].algorithm), strlen(known[i].of_nothing));
    }
    assert_int_equal(digest_algorithm_by_name("SHA512"), DIGEST_SHA512);
    assert_int_equal(digest_algorithm_by_name("Sha-256"), DIGEST_SHA256);
    assert_int_equal(digest_algorithm_by_name("SHA-1"), DIGEST_SHA1);
}

static void other_names_are_none(void **state)
{
    static const char *const names[] = {"",        "sha",  "sha2",   "sha512/256", "sha3-256",
                                        "sha256 ", " md5", "crc32c", "none"};
    (void)state;
    assert_int_equal(digest_algorithm_by_name(NULL), DIGEST_NONE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_int_equal(digest_algorithm_by_name(names[i]), DIGEST_NONE);
    assert_string_equal(digest_algorithm_name(DIGEST_NONE), "");
    assert_string_equal(digest_algorithm_name((enum digest_algorithm)99), "");
    assert_int_equal(digest_hex_length(DIGEST_NONE), 0);
    assert_int_equal(digest_hex_length((enum digest_algorithm)99), 0);
}

static void values_are_taken_in_any_case(void **state)
{
    struct digest digest;
    (void)state;
    assert_int_equal(digest_set(DIGEST_MD5, "900150983CD24FB0D6963F7D28E17F72 and more", 32, &digest), 0);
    assert_int_equal(digest.algorithm, DIGEST_MD5);
    assert_string_equal(digest.hex, "900150983cd24fb0d6963f7d28e17f72");
}

static void wrong_values_leave_the_digest_alone(void **state)
{
    struct digest digest;
    struct digest before;
    (void)state;
    memset(&digest, 0x5a, sizeof digest);
    before = digest;
    assert_int_equal(digest_set(DIGEST_MD5, "900150983cd24fb0d6963f7d28e17f7", 31, &digest), -EINVAL);
    assert_int_equal(digest_set(DIGEST_MD5, "900150983cd24fb0d6963f7d28e17f720", 33, &digest), -EINVAL);
    assert_int_equal(digest_set(DIGEST_MD5, "900150983cd24fb0d6963f7d28e17f7g", 32, &digest), -EINVAL);
    assert_int_equal(digest_set(DIGEST_MD5, "900150983cd24fb0d6963f7d28e1\xc3\xa4zz", 32, &digest), -EINVAL);
    assert_int_equal(digest_set(DIGEST_SHA1, "900150983cd24fb0d6963f7d28e17f72", 32, &digest), -EINVAL);
    assert_int_equal(digest_set(DIGEST_NONE, "", 0, &digest), -EINVAL);
    assert_memory_equal(&digest, &before, sizeof digest);
}

static void equal_means_same_algorithm_and_value(void **state)
{
    struct digest none = {.algorithm = DIGEST_NONE}, a, b;
    (void)state;
    a = digest_of(DIGEST_SHA256, "abc", 3, 3);
    b = digest_of(DIGEST_SHA256, "abc", 3, 3);
    assert_true(digest_equal(&a, &b));
    b = digest_of(DIGEST_SHA256, "abd", 3, 3);
    assert_false(digest_equal(&a, &b));
    b = digest_of(DIGEST_SHA512, "abc", 3, 3);
    assert_false(digest_equal(&a, &b));
    assert_false(digest_equal(&none, &none));
    assert_false(digest_equal(&none, &a));
}

static void no_stream_without_an_algorithm(void **state)
{
    struct digest_stream *stream = (void *)state;
    assert_int_equal(digest_stream_new(DIGEST_NONE, &stream), -EINVAL);
    assert_int_equal(digest_stream_new((enum digest_algorithm)99, &stream), -EINVAL);
    assert_ptr_equal(stream, state);
    digest_stream_free(NULL);
    assert_int_equal(digest_stream_new(DIGEST_MD5, &stream), 0);
    digest_stream_free(stream); /* unfinished */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_values_come_out),
        cmocka_unit_test(names_go_both_ways),
        cmocka_unit_test(other_names_are_none),
        cmocka_unit_test(values_are_taken_in_any_case),
        cmocka_unit_test(wrong_values_leave_the_digest_alone),
        cmocka_unit_test(equal_means_same_algorithm_and_value),
        cmocka_unit_test(no_stream_without_an_algorithm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
