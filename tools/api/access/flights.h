/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One question at a time for each key: who comes while it is being asked waits for that answer, and gets it, too. Any thread; blocks as
 * long as the question takes. The lock inside is a leaf, and not held while somebody asks.
 */
#ifndef GCFS_API_FLIGHTS_H
#define GCFS_API_FLIGHTS_H

#include <stddef.h>

#include "api/access/verdicts.h"

struct flights;

struct flights *flights_new(void); /* NULL: no memory */
void flights_free(struct flights *f); /* nobody asks any more; NULL is fine */

/* Asks: 0 or -errno; what else it found it writes to ANSWER, of SIZE bytes. */
typedef int flights_fn(void *context, void *answer, size_t size);

/* What ASK returns and writes for KEY, from this call or from one that is under way. RET is untouched on failure. */
int flights_ask(struct flights *f, const char key[VERDICT_KEY], flights_fn *ask, void *context, void *ret, size_t size);

#endif
