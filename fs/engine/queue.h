/* SPDX-License-Identifier: Apache-2.0 */
/* The queue of prefetches. */
#ifndef GCFS_ENGINE_QUEUE_H
#define GCFS_ENGINE_QUEUE_H

#include "engine/images/image.h"

int queue_new(struct queue **ret); /* -ENOMEM */
void queue_free(struct queue *q);  /* at the end, with no thread left. NULL is fine */

void prefetch_kick(struct engine *e);  /* any thread */
void prefetch_tick(struct engine *e);  /* on the rows thread */
void prefetch_stop(struct engine *e, const char *name); /* any thread: its entry left the queue */
/* Has all of NAME fetched in the background, after a look-up of its own; QUEUE_ROW 0: not for the queue. Any thread; blocks on the disk. */
void prefetch_start(struct engine *e, const char *name, int64_t queue_row, uint64_t attempts);
void queue_again(struct engine *e, const char *name); /* any thread: once more, from the start, but not for the queue */
bool prefetch_is_under_way(struct engine *e, const char *name);

#endif
