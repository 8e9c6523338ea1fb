/* SPDX-License-Identifier: Apache-2.0 */
/* Digests by libcrypto's EVP. A stream is one EVP_MD_CTX; no other state, no lock. */
#include "config-auto.h"

#include "image/digest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

static const struct {
    const char *name;
    const char *other_name; /* as S3, RFC 3230 and GNU tools spell it */
    size_t hex_length;
    const EVP_MD *(*md)(void);
} algorithms[] = {
    [DIGEST_NONE] = {"", "", 0, NULL},
    [DIGEST_MD5] = {"md5", "md-5", 32, EVP_md5},
    [DIGEST_SHA1] = {"sha1", "sha-1", 40, EVP_sha1},
    [DIGEST_SHA256] = {"sha256", "sha-256", 64, EVP_sha256},
    [DIGEST_SHA384] = {"sha384", "sha-384", 96, EVP_sha384},
    [DIGEST_SHA512] = {"sha512", "sha-512", 128, EVP_sha512},
};

enum { ALGORITHM_COUNT = sizeof algorithms / sizeof algorithms[0] };

struct digest_stream {
    enum digest_algorithm algorithm;
    EVP_MD_CTX *context;
};

static bool known(enum digest_algorithm algorithm)
{
    return algorithm > DIGEST_NONE && (size_t)algorithm < ALGORITHM_COUNT;
}

enum digest_algorithm digest_algorithm_by_name(const char *name)
{
    if (name == NULL)
        return DIGEST_NONE;
    for (int i = DIGEST_NONE + 1; i < ALGORITHM_COUNT; i++) {
        if (strcasecmp(name, algorithms[i].name) == 0 || strcasecmp(name, algorithms[i].other_name) == 0)
            return (enum digest_algorithm)i;
    }
    return DIGEST_NONE;
}

const char *digest_algorithm_name(enum digest_algorithm algorithm)
{
    return known(algorithm) ? algorithms[algorithm].name : "";
}

size_t digest_hex_length(enum digest_algorithm algorithm)
{
    return known(algorithm) ? algorithms[algorithm].hex_length : 0;
}

int digest_set(enum digest_algorithm algorithm, const char *hex, size_t length, struct digest *ret)
{
    if (!known(algorithm) || length != digest_hex_length(algorithm))
        return -EINVAL;
    struct digest digest = {.algorithm = algorithm};
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)hex[i];
        if (!isxdigit(c))
            return -EINVAL;
        digest.hex[i] = (char)tolower(c);
    }
    *ret = digest;
    return 0;
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return a->algorithm != DIGEST_NONE && a->algorithm == b->algorithm && strcmp(a->hex, b->hex) == 0;
}

int digest_stream_new(enum digest_algorithm algorithm, struct digest_stream **ret)
{
    if (!known(algorithm))
        return -EINVAL;
    struct digest_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL)
        return -ENOMEM;
    stream->algorithm = algorithm;
    stream->context = EVP_MD_CTX_new();
    if (stream->context == NULL) {
        digest_stream_free(stream);
        return -ENOMEM;
    }
    if (EVP_DigestInit_ex(stream->context, algorithms[algorithm].md(), NULL) != 1) {
        digest_stream_free(stream);
        return -ENOTSUP;
    }
    *ret = stream;
    return 0;
}

int digest_stream_update(struct digest_stream *stream, const void *data, size_t length)
{
    return EVP_DigestUpdate(stream->context, data, length) == 1 ? 0 : -EIO;
}

int digest_stream_finish(struct digest_stream *stream, struct digest *ret)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (EVP_DigestFinal_ex(stream->context, value, &length) != 1 || length * 2 != digest_hex_length(stream->algorithm))
        return -EIO;
    struct digest digest = {.algorithm = stream->algorithm};
    for (unsigned i = 0; i < length; i++) {
        digest.hex[2 * i] = digits[value[i] >> 4];
        digest.hex[2 * i + 1] = digits[value[i] & 15];
    }
    *ret = digest;
    return 0;
}

void digest_stream_free(struct digest_stream *stream)
{
    if (stream == NULL)
        return;
    EVP_MD_CTX_free(stream->context);
    free(stream);
}

int digest_hmac(enum digest_algorithm algorithm, const char *key, const char *text, struct digest *ret)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char value[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    if (!known(algorithm))
        return -EINVAL;
    if (HMAC(algorithms[algorithm].md(), key, (int)strlen(key), (const unsigned char *)text, strlen(text), value, &length) == NULL)
        return -ENOTSUP;
    ret->algorithm = algorithm;
    for (unsigned i = 0; i < length; i++) {
        ret->hex[2 * i] = digits[value[i] >> 4];
        ret->hex[2 * i + 1] = digits[value[i] & 15];
    }
    ret->hex[2 * length] = '\0';
    return 0;
}

int digest_text(enum digest_algorithm algorithm, const char *text, struct digest *ret)
{
    struct digest_stream *stream;
    int r = digest_stream_new(algorithm, &stream);
    if (r < 0)
        return r;
    r = digest_stream_update(stream, text, strlen(text));
    if (r >= 0)
        r = digest_stream_finish(stream, ret);
    digest_stream_free(stream);
    return r;
}
