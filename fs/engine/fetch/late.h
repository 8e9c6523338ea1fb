/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When is a request late? Longer without a byte than 99 of 100 like it were; and how many of those are worth a second one: 2 in 100 of all. Pure: numbers
 * in, numbers out. (Dean and Barroso, "The tail at scale", call that hedged requests.)
 */
#ifndef GCFS_LATE_H
#define GCFS_LATE_H

#include <stdbool.h>
#include <stdint.h>

enum { LATE_OCTAVES = 17, LATE_BUCKETS = LATE_OCTAVES * 8, LATE_KNOWN = 100 };

struct late {
    uint32_t counts[LATE_BUCKETS]; /* of waits for a first byte, eight to an octave from a millisecond on; the old ones fade */
    uint32_t total;
    double budget; /* second requests that may be made */
    int64_t taken_at; /* monotonic ns; the last one */
};

void late_note(struct late *l, int64_t waited); /* ns; of a request that was answered */
/* ns after which one that brings nothing is late; 0: not known yet, after fewer than LATE_KNOWN. */
int64_t late_after(const struct late *l);
/* A second request at NOW: may it be made? It counts then. One a second may be, whatever there was: where all are stuck, nothing is asked by which
 * more might become allowed. */
bool late_take(struct late *l, int64_t now);
void late_spare(struct late *l); /* that one brought bytes, and the first request none: nothing was asked for in vain */

#endif
