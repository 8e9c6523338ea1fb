/* SPDX-License-Identifier: Apache-2.0 */
/* Digests in base64 and in hex: a value that is taken can be written in the other way and is the same. */
#include "config-auto.h"

#include "fuzz.h"

#include "backends/backend.h"
#include "backends/head_digest.h"

static unsigned hex_value(char c)
{
    return (unsigned) (c <= '9' ? c - '0' : c - 'a' + 10);
}

static void to_base64(const struct digest *digest, char *to)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, count = 0;
    for (const char *c = digest->hex; *c; c++) {
        bits = bits << 4 | hex_value(*c);
        for (count += 4; count >= 6; count -= 6)
            *to++ = alphabet[bits >> (count - 6) & 63];
    }
    if (count > 0)
        *to++ = alphabet[bits << (6 - count) & 63];
    strcpy(to, "==");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *name = fuzz_line(&in), *text = fuzz_line(&in), base64[DIGEST_HEX_MAX];
    enum digest_algorithm algorithm = digest_algorithm_by_name(name);
    struct digest digest = {.algorithm = DIGEST_NONE}, again;
    if (digest_set(algorithm, text, strlen(text), &digest) == 0 || digest_set_base64(algorithm, text, strlen(text), &digest) == 0) {
        assert(strlen(digest.hex) == digest_hex_length(algorithm));
        assert(digest.algorithm == digest_algorithm_by_name(digest_algorithm_name(digest.algorithm)));
        if (algorithm != DIGEST_NONE) {
            to_base64(&digest, base64);
            assert(digest_set_base64(algorithm, base64, strlen(base64), &again) == 0 && digest_equal(&digest, &again));
        }
    } else {
        assert(digest.algorithm == DIGEST_NONE && digest.hex[0] == '\0');
    }
    digest = backend_etag_md5(text);
    assert(strlen(digest.hex) == digest_hex_length(digest.algorithm));
    free(name);
    free(text);
    return 0;
}
