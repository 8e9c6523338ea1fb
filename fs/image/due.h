/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an image needs next, looked for whenever something of it changed. Pure; image->lock is held.
 *
 * A set of DUE_ bits: the first of the exclusive ones that holds, in the order of the table in due.c, and those that come beside it. Where one of
 * them has somebody work on the file of the image or on its row, it is in his hands from here on.
 */
#ifndef GCFS_IMAGE_DUE_H
#define GCFS_IMAGE_DUE_H

#include "image/image.h"

enum {
    DUE_FAIL = 1 << 0,    /* given up for now: stop its requests, tell its waiters */
    DUE_REPLACE = 1 << 1, /* dead: stop; its name gets another row */
    DUE_AGAIN = 1 << 2,   /* + dead and replaced: fetch the name once more */
    DUE_DROP = 1 << 3,    /* stop; drop its bytes */
    DUE_PASS = 1 << 4,    /* the disk did not take its bytes: it goes straight through */
    DUE_KEEP = 1 << 5,    /* + straight through for long enough: try the normal way again, if it can be kept */
    DUE_TRIM = 1 << 6,    /* + straight through: drop what is beyond the window */
    DUE_DIGEST = 1 << 7,  /* + its digest is to be settled */
    DUE_HASH = 1 << 8,    /* + the digest may follow what arrived */
    DUE_FINISH = 1 << 9,  /* all of it is here: verify, publish */
    DUE_BEGIN = 1 << 10,  /* wanted, and without a file */
    DUE_FETCH = 1 << 11,  /* something may be asked for */
    DUE_LEAVE = 1 << 12,  /* nothing will be */
    DUE_EVICT = 1 << 13,  /* + complete, and discarded before it was */
};

enum { THROUGH_PAUSE_S = 60 };

/* Those who can be answered as it is go to fx->woken, each with his status. NOW: monotonic. REPLAYS: what an earlier boot read is still to be asked for. */
unsigned image_due_locked(struct image *image, int64_t now, bool replays, struct effects *fx);
/* DUE_HASH alone, for who adds bytes: the prefix that is here is far enough ahead of what the digest has seen. */
bool image_hash_due_locked(const struct image *image);

#endif
