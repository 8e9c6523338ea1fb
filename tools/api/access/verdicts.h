/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Verdicts kept for a while: what Keystone said of a token, what Glance said of a token and an image. Keys are SHA-256 sums, so that no
 * token lies in memory longer than its request. At most VERDICTS_MAX are kept; the oldest go first. Any thread; the lock is a leaf.
 */
#ifndef GCFS_API_VERDICTS_H
#define GCFS_API_VERDICTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { VERDICTS_MAX = 20000, VERDICT_KEY = 65 };

struct verdicts;

struct verdicts *verdicts_new(void); /* NULL: no memory */
void verdicts_free(struct verdicts *v);

/* The key of two texts (B may be NULL). False: no memory. */
bool verdict_key(const char *a, const char *b, char ret[VERDICT_KEY]);
bool verdicts_get(struct verdicts *v, const char *key, int *ret_verdict);
/* UNTIL: on the monotonic clock, nanoseconds. */
void verdicts_put(struct verdicts *v, const char *key, int verdict, int64_t until);
/* The same with what else was found: SIZE bytes, copied, the same SIZE for all keys of V. */
bool verdicts_get_with(struct verdicts *v, const char *key, int *ret_verdict, void *ret_data, size_t size);
void verdicts_put_with(struct verdicts *v, const char *key, int verdict, const void *data, size_t size, int64_t until);
/* It turned out otherwise. */
void verdicts_drop(struct verdicts *v, const char *key);

/* All that were put with these DATA; looks at each. */
void verdicts_drop_with(struct verdicts *v, const void *data, size_t size);

/* Compares in a time that does not depend on where two secrets differ, nor on their lengths. */
bool secret_same(const char *a, const char *b);

#endif
