/* SPDX-License-Identifier: Apache-2.0 */
/* When may the next worker start after one that died unasked, or is the mount given up? Numbers only; no clock, no lock. */
#ifndef GCFS_DEATHS_H
#define GCFS_DEATHS_H

#include <stdbool.h>
#include <stdint.h>

struct deaths { /* in a row; begins as zeros */
    unsigned early; /* of workers that served nothing */
    unsigned quick; /* of such that did, but died at once */
};

struct death {
    int64_t lived; /* ns since it was told to go */
    bool served;   /* it came so far that it could serve */
    bool answered; /* a request was answered meanwhile */
    bool by_hand;  /* somebody killed it: it says nothing of the program */
};

/*
 * One more. True: *RET_DELAY says how many ns the next waits: a worker that served is replaced at once, but not without a breath when that
 * goes on; after those that served nothing the wait doubles. False: so many did that it is given up.
 */
bool deaths_count(struct deaths *d, const struct death *death, int64_t *ret_delay);

#endif
