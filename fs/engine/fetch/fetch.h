/* SPDX-License-Identifier: Apache-2.0 */
/* The fetch thread's active list: which bytes of which image are asked for next. All on the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_FETCH_H
#define GCFS_ENGINE_FETCH_FETCH_H

#include "engine/images/image.h"

int fetch_new(struct fetch **ret); /* with the thread of prefault. -EAGAIN, -ENOMEM */
void fetch_free(struct fetch *f);  /* when the fetch thread has ended. NULL is fine */

void fetch_enter(struct image *image);        /* on the active list: something may be asked for of it */
void fetch_leave(struct image *image);        /* off it */
void fetch_stop_ranges(struct image *image);  /* cancels all its requests */
void fetch_schedule(struct engine *e);        /* start what may start */
void fetch_on_well(void *engine);             /* the backend answers again */
void fetch_room_made(void *engine, bool enough); /* the rows thread has evicted: there is room for what was asked for last, or not */

#endif
