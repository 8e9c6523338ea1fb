/* SPDX-License-Identifier: Apache-2.0 */
/* Room in the cache. */
#ifndef GCFS_ENGINE_EVICT_SPACE_H
#define GCFS_ENGINE_EVICT_SPACE_H

#include "engine/images/image.h"

int space_new(struct space **ret); /* -ENOMEM */
void space_free(struct space *s);  /* NULL is fine */

/* May LENGTH more bytes of IMAGE be asked for? False: room is being made, or it goes through now. On the fetch thread. */
bool space_reserve(struct image *image, uint64_t length);
/* The same for the first LENGTH bytes, which are here already, on the rows thread; evicts itself. True: they are counted as under way. */
bool space_reserve_first(struct image *image, uint64_t length);
bool space_fits(struct engine *e, uint64_t length);   /* would LENGTH more bytes fit as it is? Reads the catalogue */
bool space_can_hold(struct engine *e, uint64_t size); /* could an image of SIZE ever be kept? */
uint64_t space_used(struct engine *e); /* reads the catalogue */

#endif
