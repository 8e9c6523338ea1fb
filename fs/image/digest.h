/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of images. The only room that knows libcrypto.
 * Pure: no I/O, no lock; a struct digest is a plain value, a stream belongs to one thread at a time.
 */
#ifndef GCFS_DIGEST_H
#define GCFS_DIGEST_H

#include <stdbool.h>
#include <stddef.h>

enum digest_algorithm { DIGEST_NONE, DIGEST_MD5, DIGEST_SHA1, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };

enum { DIGEST_HEX_MAX = 128 };

struct digest {
    enum digest_algorithm algorithm; /* DIGEST_NONE: no digest known, hex is "" */
    char hex[DIGEST_HEX_MAX + 1];    /* lower case */
};

/* "md5", "sha1", "sha256", "sha384", "sha512" (any case; "sha-256" too); DIGEST_NONE for NULL or anything else. */
enum digest_algorithm digest_algorithm_by_name(const char *name);
const char *digest_algorithm_name(enum digest_algorithm algorithm); /* "" for DIGEST_NONE */
/* Hex digits of a value: 32 for md5 … 128 for sha512; 0 for DIGEST_NONE. */
size_t digest_hex_length(enum digest_algorithm algorithm);

/* Fills *ret from HEX (LENGTH digits, any case). -EINVAL when it is not a value of ALGORITHM. */
int digest_set(enum digest_algorithm algorithm, const char *hex, size_t length, struct digest *ret);
bool digest_equal(const struct digest *a, const struct digest *b); /* same algorithm, same value; NONE equals nothing */

struct digest_stream;
/* -ENOMEM; -EINVAL for DIGEST_NONE; -ENOTSUP when libcrypto refuses the algorithm (md5 under FIPS). */
int digest_stream_new(enum digest_algorithm algorithm, struct digest_stream **ret);
int digest_stream_update(struct digest_stream *stream, const void *data, size_t length); /* -EIO when libcrypto fails */
/* The value of all bytes so far; the stream can only be freed afterwards. */
int digest_stream_finish(struct digest_stream *stream, struct digest *ret);
void digest_stream_free(struct digest_stream *stream); /* NULL is fine */

/* The value of TEXT. Errors as digest_stream_new(), or of libcrypto (-EIO). */
int digest_text(enum digest_algorithm algorithm, const char *text, struct digest *ret);
/* The HMAC (RFC 2104) of TEXT with KEY. Errors as digest_stream_new(). */
int digest_hmac(enum digest_algorithm algorithm, const char *key, const char *text, struct digest *ret);

#endif
