/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When what is fetched in the background gives way: while readers wait for bytes that nobody could foresee, several a second, as a guest does and who
 * copies does not. Pure; all of it is the fetch thread's.
 */
#ifndef GCFS_YIELD_H
#define GCFS_YIELD_H

#include <stdbool.h>
#include <stdint.h>

enum { YIELD_JUMPS = 4 }; /* within the window */

struct yield {
    int64_t jumped[YIELD_JUMPS]; /* monotonic; the last ones, in turn */
    unsigned next;
    int64_t window; /* ns; 0: a second */
};

/*
 * The window where BYTES come in NS: a second, or longer where a jump may wait for seconds behind what the background has asked for, so that
 * four of them can never come in one.
 */
int64_t yield_window(uint64_t bytes, int64_t ns);

bool yield_jumped(struct yield *y, int64_t now); /* one more at NOW: does it begin with this one? */
bool yield_lasts(const struct yield *y, int64_t now);

#endif
