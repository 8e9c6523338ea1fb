/* SPDX-License-Identifier: Apache-2.0 */
/* What the heads of answers say of an image: its version, its size, which bytes came, its digest. No network. */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "answer.h"
#include "backends/backend.h"
#include "backends/head_digest.h"

#define MD5_HEX "a8bfa7e0d8842937c6fd0d67204abce8"
#define MD5_BASE64 "qL+n4NiEKTfG/Q1nIEq86A=="
#define SHA256_HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA256_BASE64 "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
#define SHA512_HEX                                                                                                     \
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81" \
    "a538327af927da3e"
#define SHA512_BASE64 "z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="

static void test_status(void **state)
{
    (void) state;
    static const struct { int status, error; } cases[] = {
        { 200, 0 },       { 206, 0 },       { 404, -ENOENT }, { 410, -ENOENT }, { 401, -EACCES }, { 403, -EACCES },
        { 408, -EAGAIN }, { 425, -EAGAIN }, { 429, -EAGAIN }, { 500, -EAGAIN }, { 503, -EAGAIN }, { 599, -EAGAIN },
        { 412, -ESTALE }, { 100, -EPROTO }, { 304, -EPROTO }, { 302, -EPROTO }, { 400, -EPROTO }, { 405, -EPROTO },
        { 416, -EPROTO }, { 0, -EPROTO },   { 999, -EPROTO },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(backend_status_error(cases[i].status), cases[i].error);
}

static void expect_meta(const char *text, uint64_t size, const char *etag, const char *modified)
{
    struct image_meta meta;
    memset(&meta, 0xff, sizeof(meta));
    assert_int_equal(backend_meta_from_head(answer(text), 3, &meta), 0);
    assert_int_equal(meta.size, size);
    assert_string_equal(meta.etag, etag);
    assert_string_equal(meta.modified, modified);
    assert_int_equal(meta.endpoint, 3);
    assert_int_equal(meta.digest.algorithm, DIGEST_NONE);
    assert_string_equal(meta.title, "");
}

static void test_meta(void **state)
{
    (void) state;
    expect_meta("206\nContent-Range: bytes 0-3/7\nContent-Length: 4\nETag: \"6b-7\"\nLast-Modified: Sun, 22 Nov 2026 "
                "17:45:44 GMT",
                7, "\"6b-7\"", "Sun, 22 Nov 2026 17:45:44 GMT");
    expect_meta("206\nContent-Range: bytes 0-3/*", IMAGE_SIZE_UNKNOWN, "", "");
    expect_meta("200\nContent-Length: 0\nETag: W/\"x\"", 0, "W/\"x\"", "");
    expect_meta("200\nTransfer-Encoding: chunked", IMAGE_SIZE_UNKNOWN, "", "");
    expect_meta("416\nContent-Range: bytes */0\nETag: \"error-page\"\nContent-Length: 197", 0, "", "");
    expect_meta("416\nContent-Range: bytes */9\nContent-Length: 197", IMAGE_SIZE_UNKNOWN, "", "");
    expect_meta("416\nContent-Length: 197", IMAGE_SIZE_UNKNOWN, "", "");

    char text[300] = "200\nContent-Length: 5\nETag: \"";
    memset(text + strlen(text), 'x', 128);
    strcat(text, "\"");
    expect_meta(text, 5, "", "");

    static const struct { const char *text; int error; } bad[] = {
        { "206", -EPROTO },
        { "206\nContent-Range: bytes 1-3/7", -EPROTO },
        { "206\nContent-Range: bytes 9-3/7", -EPROTO },
        { "206\nContent-Type: multipart/byteranges; boundary=x", -EPROTO },
        { "204", -EPROTO },
        { "304", -EPROTO },
        { "404", -ENOENT },
        { "403", -EACCES },
        { "503", -EAGAIN },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct image_meta meta = { .size = 42 };
        assert_int_equal(backend_meta_from_head(answer(bad[i].text), 0, &meta), bad[i].error);
        assert_int_equal(meta.size, 42);
    }
}

static void test_check_bytes(void **state)
{
    (void) state;
    static const struct image_meta meta = { .size = 1000 }, unknown = { .size = IMAGE_SIZE_UNKNOWN };
    enum { UNTOUCHED = 77 };
    static const struct {
        const struct image_meta *meta;
        const char *text;
        int result;
        uint64_t offset;
    } cases[] = {
        { &meta, "206\nContent-Range: bytes 100-199/1000", 0, 100 },
        { &meta, "206\nContent-Range: bytes 100-150/1000", 0, 100 }, /* fewer than asked for: allowed */
        { &meta, "206\nContent-Range: bytes 100-199/*", 0, 100 },
        { &meta, "206\nContent-Range: bytes 100-199/1001", -ESTALE, UNTOUCHED },
        { &meta, "206\nContent-Range: bytes 99-199/1000", -EPROTO, UNTOUCHED },
        { &meta, "206\nContent-Range: bytes 0-199/1000", -EPROTO, UNTOUCHED },
        { &meta, "206", -EPROTO, UNTOUCHED },
        { &meta, "206\nContent-Type: multipart/byteranges; boundary=x\nETag: \"v1\"", -EPROTO, UNTOUCHED },
        { &meta, "200\nContent-Length: 1000", 0, 0 },
        { &meta, "200\nTransfer-Encoding: chunked", 0, 0 },
        { &meta, "200\nContent-Length: 999", -ESTALE, UNTOUCHED },
        { &unknown, "206\nContent-Range: bytes 100-199/1000", 0, 100 },
        { &unknown, "416\nContent-Range: bytes */50", -EPROTO, UNTOUCHED },
        { &meta, "416\nContent-Range: bytes */50", -ESTALE, UNTOUCHED },
        { &meta, "416\nContent-Range: bytes */1000", -EPROTO, UNTOUCHED },
        { &meta, "416", -ESTALE, UNTOUCHED },
        { &meta, "412", -ESTALE, UNTOUCHED },
        { &meta, "404", -ENOENT, UNTOUCHED },
        { &meta, "429\nRetry-After: 7", -EAGAIN, UNTOUCHED },
        { &meta, "204", -EPROTO, UNTOUCHED },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t offset = UNTOUCHED;
        int r = backend_check_bytes(answer(cases[i].text), cases[i].meta, 100, &offset);
        if (r != cases[i].result || offset != cases[i].offset)
            fail_msg("case %zu (%s): %d, offset %" PRIu64, i, cases[i].text, r, offset);
    }
}

#define HEX_A "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define HEX_B "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Endpoint 1 described the image; what it and another one say of their answers. */
static void test_version(void **state)
{
    (void) state;
    struct image_meta meta = { .size = 1000, .etag = "\"v1\"", .modified = "M1", .endpoint = 1 };
    struct image_meta weak = { .size = 1000, .etag = "W/\"v1\"", .endpoint = 1 };
    struct image_meta dated = { .size = 1000, .modified = "M1", .endpoint = 1 };
    struct image_meta bare = { .size = 1000, .endpoint = 1 }, digest = bare, both = meta;
    assert_int_equal(digest_set(DIGEST_SHA256, HEX_A, 64, &digest.digest), 0);
    both.digest = digest.digest;
    const struct {
        const struct image_meta *meta;
        const char *text;
        enum version_verdict same_endpoint, other_endpoint;
    } cases[] = {
        { &meta, "ETag: \"v1\"", VERSION_SAME, VERSION_SAME },
        { &meta, "ETag: W/\"v1\"", VERSION_SAME, VERSION_UNTOLD }, /* weakened on the way; elsewhere it may be made in another way */
        { &weak, "ETag: W/\"v1\"", VERSION_SAME, VERSION_UNTOLD },
        { &meta, "ETag: \"v1\"\nLast-Modified: M2", VERSION_SAME, VERSION_SAME },
        { &meta, "ETag: \"v2\"\nLast-Modified: M1", VERSION_OTHER, VERSION_UNTOLD },
        { &meta, "Last-Modified: M1", VERSION_SAME, VERSION_UNTOLD },
        { &meta, "Last-Modified: M2", VERSION_OTHER, VERSION_UNTOLD },
        { &meta, "Server: x", VERSION_UNTOLD, VERSION_UNTOLD },
        { &dated, "ETag: \"v2\"\nLast-Modified: M1", VERSION_SAME, VERSION_UNTOLD },
        { &dated, "Last-Modified: M2", VERSION_OTHER, VERSION_UNTOLD },
        { &bare, "ETag: \"v1\"\nLast-Modified: M1", VERSION_UNTOLD, VERSION_UNTOLD },
        { &bare, "Server: x", VERSION_UNTOLD, VERSION_UNTOLD },
        { &digest, "X-Glance-Cache-Hash: sha256=" HEX_A, VERSION_SAME, VERSION_SAME },
        { &digest, "X-Glance-Cache-Hash: sha256=" HEX_B, VERSION_OTHER, VERSION_OTHER },
        { &digest, "Content-MD5: 900150983cd24fb0d6963f7d28e17f72", VERSION_UNTOLD, VERSION_UNTOLD },
        { &both, "ETag: \"v1\"\nX-Glance-Cache-Hash: sha256=" HEX_B, VERSION_OTHER, VERSION_OTHER },
        { &both, "ETag: \"v2\"\nX-Glance-Cache-Hash: sha256=" HEX_A, VERSION_OTHER, VERSION_SAME },
        { &both, "ETag: \"v2\"", VERSION_OTHER, VERSION_UNTOLD }, /* that there is a digest says nothing of this answer */
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[256];
        snprintf(text, sizeof(text), "206\nContent-Range: bytes 100-199/1000\n%s", cases[i].text);
        enum version_verdict same = backend_version(answer(text), cases[i].meta, 1), other = backend_version(answer(text), cases[i].meta, 0);
        if (same != cases[i].same_endpoint || other != cases[i].other_endpoint)
            fail_msg("case %zu (%s): %d, elsewhere %d", i, cases[i].text, same, other);
    }
}

static void expect_digest(const char *text, enum digest_algorithm algorithm, const char *hex)
{
    struct digest digest = head_digest(answer(text));
    assert_int_equal(digest.algorithm, algorithm);
    assert_string_equal(digest.hex, hex);
}

static void test_head_digest(void **state)
{
    (void) state;
    static const char part[] = "206\nContent-Range: bytes 0-3/7\n", whole[] = "206\nContent-Range: bytes 0-6/7\n";
    static const struct { const char *header; enum digest_algorithm in_part; const char *hex; } cases[] = {
        { "Content-MD5: " MD5_HEX, DIGEST_MD5, MD5_HEX },
        { "Content-MD5: A8BFA7E0D8842937C6FD0D67204ABCE8", DIGEST_MD5, MD5_HEX },
        { "Repr-Digest: sha-256=:" SHA256_BASE64 ":", DIGEST_SHA256, SHA256_HEX },
        { "Repr-Digest: md5=:" MD5_BASE64 ":;x=1, sha-512=:" SHA512_BASE64 ":, sha-256=:" SHA256_BASE64 ":",
          DIGEST_SHA512, SHA512_HEX },
        { "Digest: SHA-256=" SHA256_BASE64, DIGEST_SHA256, SHA256_HEX },
        { "Digest: unixsum=30637,sha-256=" SHA256_BASE64 ",md5=" MD5_BASE64, DIGEST_SHA256, SHA256_HEX },
        { "X-Glance-Cache-Hash: sha512=" SHA512_HEX "\nContent-MD5: " MD5_HEX "\nDigest: sha-256=" SHA256_BASE64,
          DIGEST_SHA512, SHA512_HEX },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        static const char *const starts[] = { "200\n", part, whole };
        for (size_t j = 0; j < 3; j++) {
            char text[1000];
            snprintf(text, sizeof(text), "%s%s", starts[j], cases[i].header);
            expect_digest(text, cases[i].in_part, cases[i].hex);
        }
    }
    /* RFC 1864's is of the body, which is a part only */
    expect_digest("206\nContent-Range: bytes 0-3/7\nContent-MD5: " MD5_BASE64, DIGEST_NONE, "");
    expect_digest("206\nContent-Range: bytes 0-6/7\nContent-MD5: " MD5_BASE64, DIGEST_MD5, MD5_HEX);
    expect_digest("200\nContent-MD5: " MD5_BASE64, DIGEST_MD5, MD5_HEX);

    static const char *const nothing[] = {
        "200",
        "200\nContent-MD5:",
        "200\nContent-MD5: x",
        "200\nDigest: ,,=,sha-256,sha-256=,sha-256=!,sha-256=" MD5_BASE64,
        "200\nRepr-Digest: sha-256=:",
        "200\nRepr-Digest: sha-256=::",
        "200\nX-Glance-Cache-Hash: sha512=abc",
        "200\nX-Glance-Cache-Hash: " SHA512_HEX,
        "200\nDigest: sha-512=" SHA512_BASE64 SHA512_BASE64,
        "200\nX-Glance-Cache-Hash: an-algorithm-of-a-very-long-name=" SHA512_HEX,
    };
    for (size_t i = 0; i < sizeof(nothing) / sizeof(nothing[0]); i++)
        expect_digest(nothing[i], DIGEST_NONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_meta),
        cmocka_unit_test(test_check_bytes),
        cmocka_unit_test(test_version),
        cmocka_unit_test(test_head_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
