/* SPDX-License-Identifier: Apache-2.0 */
/* Room in the cache. */
#ifndef GCFS_ENGINE_EVICT_SPACE_H
#define GCFS_ENGINE_EVICT_SPACE_H

#include "engine/images/image.h"

/* MADE is called on the fetch thread when the rows thread has evicted: is there room now for what was asked for? -ENOMEM. */
int space_new(void (*made)(void *engine, bool enough), struct space **ret);
void space_free(struct space *s);  /* NULL is fine */

/* May LENGTH more bytes of IMAGE be asked for? On the fetch thread. NEVER: not so many; BEING_MADE: not before MADE is called. */
enum room { ROOM_THERE, ROOM_BEING_MADE, ROOM_NEVER } space_reserve(struct image *image, uint64_t length);
/* The same for the first LENGTH bytes, which are here already, on the rows thread; evicts itself. True: they are counted as under way. */
bool space_reserve_first(struct image *image, uint64_t length);
bool space_fits(struct engine *e, uint64_t length);   /* would LENGTH more bytes fit as it is? Reads the catalogue */
bool space_can_hold(struct engine *e, uint64_t size); /* could an image of SIZE ever be kept? */
/*
 * Room for LENGTH bytes that are of no image in memory: it is made when it has to be, then they are counted as under way. False: there is none. Any
 * thread but the rows thread; blocks on the disk.
 */
bool space_take(struct engine *e, uint64_t length);
void space_written(struct engine *e, uint64_t length);                          /* so many of them are on the disk */
void space_give_back(struct engine *e, uint64_t taken, uint64_t under_way);     /* the catalogue counts them, or they are gone */
uint64_t space_used(struct engine *e); /* reads the catalogue */

#endif
