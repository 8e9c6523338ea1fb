/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Somebody who waits for the engine: a look-up, a listing or a read that a FUSE thread parked before it went on to other work.
 *
 * The owner embeds a struct waiter, fills `wake` and hands it to an engine function that may answer ENGINE_PARKED. From then on it
 * belongs to the engine, until wake() is called: exactly once, on one of the engine's threads, with no lock held; from there on it
 * is the owner's again (to free). STATUS is 0 or a negative errno; -EINTR after engine_interrupt().
 */
#ifndef GCFS_IMAGE_WAITERS_H
#define GCFS_IMAGE_WAITERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct waiter {
    void (*wake)(struct waiter *w, int status);
    uint32_t user; /* the owner's, too: who waits, so that many of one user's look-ups do not hold up another's */
    int64_t until; /* the owner's, too, of a look-up: monotonic; it is woken with -ETIMEDOUT then, and the look-up goes on. 0: it waits */
    atomic_bool interrupted; /* set by engine_interrupt(), at any time before wake() */
    /* the engine's, while parked; protected by the lock of what it is parked on */
    TAILQ_ENTRY(waiter) link;
    uint64_t offset, length; /* of a read */
    int status;              /* of one about to be woken */
};

TAILQ_HEAD(waiters, waiter);

/* Takes each off LIST and wakes it with its status, in their order. No lock is held: wake() may do anything, also free its waiter. */
void wake_all(struct waiters *list);

/* Those of LIST who do not want to wait any more go to OUT, with -EINTR; the lock of what they are parked on is held. */
void waiters_take_interrupted(struct waiters *list, struct waiters *out);

void waiters_take_all(struct waiters *list, int status, struct waiters *out); /* all of them, each with STATUS */

enum { ENGINE_PARKED = 1, ENGINE_CACHED = 2 };

#endif
