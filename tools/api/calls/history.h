/* SPDX-License-Identifier: Apache-2.0 */
/* Hits, misses and bytes over the last hour, sampled from .status. Any thread; the lock inside is a leaf. */
#ifndef GCFS_API_HISTORY_H
#define GCFS_API_HISTORY_H

#include <jansson.h>

enum { HISTORY_SECONDS = 10, HISTORY_SAMPLES = 361 };

struct history;

struct history *history_new(void); /* NULL: no memory */
void history_free(struct history *h); /* NULL is fine */
/* Takes the counters of STATUS as of now, once every HISTORY_SECONDS; call it more often. */
void history_sample(struct history *h, const json_t *status);
/* [[seconds since 1970, hits, misses, bytes fetched], …], the oldest first; the counters are those since the mount. */
json_t *history_document(struct history *h);

#endif
