/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the readers of an image are. The kernel's requests carry nothing that tells readers apart, so a place is recognised by
 * where the next request of a sequential reader falls: at, or a little around, the end of the one before (read-ahead makes
 * neighbouring requests overtake each other). The places that were not used for longest are forgotten.
 *
 * Pure; the owner serialises.
 */
#ifndef GCFS_CURSORS_H
#define GCFS_CURSORS_H

#include <stdint.h>

enum { CURSORS = 8, CURSOR_SLACK = 1 << 20, CURSOR_WINDOW_MIN = 128 << 10, CURSOR_WINDOW_FIRST = 4 << 20, CURSOR_WIDER = 4 };
enum { CURSOR_KEPT = 32 << 20, CURSOR_DROP = 4 << 20 };

struct cursor {
    uint64_t start;  /* where the run began */
    uint64_t next;   /* the furthest end of its requests */
    uint64_t window; /* bytes to have ready beyond `next`; 0 until the second request in a row */
    uint64_t behind; /* from `start` to there cursors_behind() said it */
    uint64_t used;   /* a clock: when it last moved; 0: free */
};

struct cursors {
    struct cursor place[CURSORS];
    uint64_t clock;
};

/* A read of LENGTH bytes at OFFSET. Its cursor, moved; a sequential one's window begins with WINDOW and is CURSOR_WIDER times as wide with each, up to
 * WINDOW_MAX. */
const struct cursor *cursors_note(struct cursors *c, uint64_t offset, uint64_t length, uint64_t window, uint64_t window_max);
/*
 * What a long sequential run has left behind: CURSOR_DROP bytes or more, from *ret_offset, that end CURSOR_KEPT before its end. Each is
 * said once. 0: nothing new. P is of C, from cursors_note().
 */
uint64_t cursors_behind(struct cursors *c, const struct cursor *p, uint64_t *ret_offset);
/* The one that moved last; NULL when nobody ever read. */
const struct cursor *cursors_latest(const struct cursors *c);

#endif
