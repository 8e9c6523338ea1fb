/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When what is fetched in the background gives way: while readers wait for bytes that nobody could foresee, several a second, as a guest does and who
 * copies does not. Pure; all of it is the fetch thread's.
 */
#ifndef GCFS_YIELD_H
#define GCFS_YIELD_H

#include <stdbool.h>
#include <stdint.h>

enum { YIELD_JUMPS = 4 }; /* within a second */

struct yield {
    int64_t jumped[YIELD_JUMPS]; /* monotonic; the last ones, in turn */
    unsigned next;
};

bool yield_jumped(struct yield *y, int64_t now); /* one more at NOW: does it begin with this one? */
bool yield_lasts(const struct yield *y, int64_t now);

#endif
