/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of digests: what their lines mean, and that it does not matter how the bytes are cut. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backends/listing/sums.h"

#define MD5_A "d41d8cd98f00b204e9800998ecf8427e"
#define SHA256_A "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA256_B "2C26B46B68FFC68FF99B453C1D30413413422D706483BFA0F98A5E886266E7AE"
#define SHA256_B_LOW "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"

struct found {
    char text[4096]; /* "algorithm hex name\n" of each */
    int stop_with;
};

static int note(void *context, const char *name, const struct digest *digest)
{
    struct found *f = context;
    size_t used = strlen(f->text);
    snprintf(f->text + used, sizeof(f->text) - used, "%s %s %s\n", digest_algorithm_name(digest->algorithm),
             digest->hex, name);
    return f->stop_with;
}

static enum digest_algorithm named = DIGEST_SHA256; /* by the file's name */

static int parse(const char *text, size_t length, size_t piece, struct found *ret)
{
    struct sums *s;
    int r = sums_new(named, note, ret, &s);
    assert_int_equal(r, 0);
    for (size_t at = 0; r == 0 && at < length; at += piece) {
        size_t n = length - at < piece ? length - at : piece;
        char *copy = malloc(n); /* so that reading behind a piece is seen */
        assert_non_null(copy);
        memcpy(copy, text + at, n);
        r = sums_feed(s, copy, n);
        free(copy);
    }
    if (r == 0)
        r = sums_end(s);
    sums_free(s);
    return r;
}

static void expect(const char *text, const char *expected)
{
    static const size_t pieces[] = { 1, 2, 3, 7, 64, SIZE_MAX / 2 };
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct found found = { .text = "" };
        assert_int_equal(parse(text, strlen(text), pieces[i], &found), 0);
        assert_string_equal(found.text, expected);
    }
}

/* As distributions publish them: signed in clear, with comments, in a file whose name tells no algorithm. */
static void test_signed(void **state)
{
    (void) state;
    named = DIGEST_NONE;
    expect("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# vm.raw: 300000 bytes\nSHA256 (vm.raw) = " SHA256_A "\n"
           "- --odd\n-----BEGIN PGP SIGNATURE-----\n\n" SHA256_A "  not.raw\n-----END PGP SIGNATURE-----\n",
           "sha256 " SHA256_A " vm.raw\n");
    expect(SHA256_A "  vm.raw\nd41d8cd98f00b204e9800998ecf8427e *old.raw\nabcd  short.raw\n",
           "sha256 " SHA256_A " vm.raw\nmd5 d41d8cd98f00b204e9800998ecf8427e old.raw\n");
    named = DIGEST_SHA256;
    expect("d41d8cd98f00b204e9800998ecf8427e  vm.raw\n", "");
}

static void test_forms(void **state)
{
    (void) state;
    expect(SHA256_A "  plain.img\n", "sha256 " SHA256_A " plain.img\n");
    expect(SHA256_A " *binary.img\n" SHA256_B "  upper.img",
           "sha256 " SHA256_A " binary.img\nsha256 " SHA256_B_LOW " upper.img\n");
    expect(SHA256_A "  ./beside.img\r\n", "sha256 " SHA256_A " beside.img\n");
    expect(SHA256_A "  two  blanks (1) = x.img\n", "sha256 " SHA256_A " two  blanks (1) = x.img\n");
    expect("SHA256 (b s d.iso) = " SHA256_A "\n", "sha256 " SHA256_A " b s d.iso\n");
    expect("SHA256 (odd) = name) = " SHA256_A "\n", "sha256 " SHA256_A " odd) = name\n");
    expect("MD5 (own.iso) = " MD5_A "\n", "md5 " MD5_A " own.iso\n");
    expect("\\" SHA256_A "  back\\\\slash.img\n", "sha256 " SHA256_A " back\\slash.img\n");
    expect("", "");
}

static void test_other_lines(void **state)
{
    (void) state;
    expect("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n# Fedora: 1234 bytes\n" SHA256_A "  x\n-----END\n",
           "sha256 " SHA256_A " x\n");
    expect(MD5_A "  not-this-algorithm\n", "");
    expect(SHA256_A " one-blank\n" SHA256_A "\n" SHA256_A "  \n" SHA256_A "0  too-long\n", "");
    expect(SHA256_A "  folder/x\n" SHA256_A "  .hidden\n" SHA256_A "  ../x\n", "");
    expect("\\" SHA256_A "  new\\nline\n\\" SHA256_A "  bad\\x\n\\" SHA256_A "  end\\\n", "");
    expect("SHA256 () = " SHA256_A "\nSHA256 (x) = 12\nWHIRLPOOL (x) = " SHA256_A "\n (x) = " SHA256_A "\n() = \n", "");
}

static void test_long_line(void **state)
{
    (void) state;
    size_t junk = 3000000;
    static const char end[] = "\n" SHA256_A "  behind.img\n";
    char *text = malloc(junk + sizeof(end));
    assert_non_null(text);
    memset(text, 'a', junk);
    memcpy(text + junk, end, sizeof(end));
    for (size_t piece = 100; piece < junk; piece *= 30) {
        struct found found = { .text = "" };
        assert_int_equal(parse(text, junk + sizeof(end) - 1, piece, &found), 0);
        assert_string_equal(found.text, "sha256 " SHA256_A " behind.img\n");
    }
    free(text);
}

static void test_nul(void **state)
{
    (void) state;
    static const char text[] = SHA256_A "  x\0y\n" SHA256_A "  z\n";
    struct found found = { .text = "" };
    assert_int_equal(parse(text, sizeof(text) - 1, 5, &found), 0);
    assert_string_equal(found.text, "sha256 " SHA256_A " z\n");
}

static void test_stop(void **state)
{
    (void) state;
    static const char text[] = SHA256_A "  x\n" SHA256_A "  y";
    struct found found = { .stop_with = -ENOSPC };
    assert_int_equal(parse(text, sizeof(text) - 1, 8, &found), -ENOSPC);
    assert_string_equal(found.text, "sha256 " SHA256_A " x\n");
    found = (struct found){ .stop_with = 7 };
    assert_int_equal(parse(text + sizeof(SHA256_A "  x\n") - 1, sizeof(SHA256_A "  y") - 1, 8, &found), 7);
}

static void test_names(void **state)
{
    (void) state;
    char a[] = "SHA256SUMS", b[] = "x";
    char *const names[] = { a, b, NULL };
    assert_true(sums_named(names, "SHA256SUMS") && sums_named(names, "SHA256SUMS.gpg") && sums_named(names, "SHA256SUMS.asc") &&
                sums_named(names, "x.sign") && sums_named(names, "x.sig"));
    assert_false(sums_named(names, "SHA256SUM") || sums_named(names, "SHA256SUMS.gp") || sums_named(names, "SHA256SUMS.gpg.gpg") ||
                 sums_named(names, ".gpg") || sums_named(names, "xx") || sums_named(NULL, "x"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signed), cmocka_unit_test(test_forms),     cmocka_unit_test(test_other_lines), cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_nul),       cmocka_unit_test(test_names), cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests_name("sums", tests, NULL, NULL);
}
