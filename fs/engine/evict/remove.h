/* SPDX-License-Identifier: Apache-2.0 */
/* Taking images out of the cache. */
#ifndef GCFS_ENGINE_EVICT_REMOVE_H
#define GCFS_ENGINE_EVICT_REMOVE_H

#include "engine/images/image.h"
#include "image/waiters.h"

/* Of the complete image NAME: rm cached/NAME; the same, and a pin goes to the new version; mv cached/NAME invalid/. -ENOENT. Block on the disk. */
int evict_by_name(struct engine *e, const char *name);
int evict_for_another_version(struct engine *e, const char *name);
int evict_quarantine(struct engine *e, const char *name, const char *reason);
/* As evict_by_name(), of the complete image ROW, for who chose it to make room: -EBUSY when it is open, -ENOENT when it is pinned or gone
 * by now. */
int evict_idle(struct engine *e, int64_t row);
int evict_forget_invalid(struct engine *e, const char *name); /* rm invalid/NAME. -ENOENT */

/* rm incomplete/NAME: the attendant has the fetch stopped and the bytes dropped. -ENOENT, -EBUSY; ENGINE_PARKED until that is done, or is
 * refused: -EBUSY: it is becoming complete just now. */
int evict_drop(struct engine *e, const char *name, struct waiter *w);

/*
 * Whatever of NAME is here goes, as by either of these; what is becoming complete just now is evicted when it is. 0 also when nothing is here.
 * -ENOENT: it is not known; ENGINE_PARKED as above.
 */
int evict_discard(struct engine *e, const char *name, struct waiter *w);

/* For the attendant, on the fetch thread, with the requests of IMAGE stopped; the rows thread does it, and IMAGE has changed at the end. */
void evict_drop_bytes(struct image *image); /* and whoever asked for it is told: image->dropper */
void evict_replace(struct image *image);    /* it is dead: its row retires, a rotten one's file goes to invalid/ */
void evict_unwanted(struct image *image);   /* it is complete, and was discarded before */
void evict_kept(struct image *image);       /* it goes straight through: what was kept of it goes */

/* On the rows thread: removes what lies in incomplete/ under NAME if no image has it. */
void evict_leftover(struct engine *e, const char *name);
/* Who has IMAGE open goes on with it, who opens its name from now on gets a row of his own. 0, also when that is so already. Blocks. */
int evict_from_name(struct image *image);

#endif
