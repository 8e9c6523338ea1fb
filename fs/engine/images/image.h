/* SPDX-License-Identifier: Apache-2.0 */
/* What can be done to one image, beside its pure state: image/image.h. */
#ifndef GCFS_ENGINE_IMAGES_IMAGE_H
#define GCFS_ENGINE_IMAGES_IMAGE_H

#include "engine/images/shared.h"
#include "image/image.h"
#include "store/file.h"

/* A reference more, for who has one. */
static inline struct image *image_ref(struct image *image)
{
    atomic_fetch_add(&image->refs, 1);
    return image;
}

void image_tail_hidden(void *hiding); /* the kernel has dropped it: engine->tail_hidden; any thread */
void image_dirty_locked(struct image *image); /* something of it is not in the catalogue yet */
/* Its file is a new one: so is its track. */
void image_track_locked(struct image *image);
void image_untrack_locked(struct image *image);
/* It is given up for now, for WHY, as one says who may not end its fetch himself: the attendant does it, and its waiters get STATUS. Any thread. */
void image_give_up(struct image *image, int status, const char *why);
int image_write_version(struct image *image); /* blocks: what the first answer for bytes told of its version, to the catalogue; 0 when it is there */

/* Gives the lock back, and does what FX says. Blocks on nothing, and takes the table's lock not. */
void image_unlock_and(struct image *image, struct effects *fx);
void image_do(struct image *image, struct effects *fx); /* the latter, once the lock was given back */

/* Somebody else may have to do something about it: the fetch thread will look, once for any number of such words. Any thread. */
void image_changed(struct image *image);
void image_changed_locked(struct image *image); /* the same, with image->lock held */

#endif
