/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests a server takes at once, learned from what it refuses. Pure: numbers in, numbers out.
 *
 * A refusal while others are under way is taken to be about their number: from then on there are no more than those. After a pause, which grows with each
 * refusal in a row, one more is tried. A refusal of the only one says nothing about numbers, and what was learned is forgotten.
 */
#ifndef GCFS_CROWD_H
#define GCFS_CROWD_H

#include <stdbool.h>
#include <stdint.h>

enum { CROWD_PAUSE_MAX_S = 64 };

struct crowd {
    unsigned most;   /* requests at once; 0: as many as are wanted */
    unsigned falls;  /* in a row */
    int64_t more_at; /* monotonic ns: one more is tried from then on */
};

/* At NOW a request was refused while OTHERS (≥ 1) were under way; the server asks for PAUSE seconds without more of them, 0: it does not say.
 * True: that is new, there was no limit before. */
bool crowd_refused(struct crowd *c, unsigned others, unsigned pause, int64_t now);
void crowd_alone(struct crowd *c); /* the only request was refused */
void crowd_answered(struct crowd *c, unsigned open, int64_t now); /* one of OPEN requests was answered as it should be */
/* May there be one more than OPEN requests? */
bool crowd_has_room(const struct crowd *c, unsigned open, int64_t now);

/* Is this how a server, or what stands before it, refuses a request for there being too many? STATUS 0: none, and ERROR, a negative errno. */
bool crowd_is_refusal(int status, int error);

#endif
