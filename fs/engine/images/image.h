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

/*
 * Must a reader of [OFFSET, OFFSET+LENGTH) wait for the digest? The last chunk is held back until the image is verified, so that nobody who
 * reads all of it reaches the end of a wrong one. It is not held from those who only peek (a kernel looks for partition tables and RAID
 * labels at the end of a disk): while more than HOLD_SLACK bytes of the rest are neither here nor under way, the wait would have no bound.
 * What was shown that way is dropped from the kernel's cache as soon as holding begins, and until that is done nobody gets bytes that
 * arrived since: so who reads all of it finds the tail hidden, or is still to read what he needs.
 */
bool image_held_locked(struct image *image, uint64_t offset, uint64_t length);
/* Bytes arrived: if holding begins with them, what was shown of the tail is to be dropped. Nobody asks for what the kernel has. */
void image_hide_tail_locked(struct image *image);
void image_tail_hidden(void *hiding); /* the kernel has dropped it: engine->tail_hidden; any thread */
/* Takes every reader off IMAGE that can be answered (STATUS 0), or all of them when STATUS < 0. Wake them by wake_all(). */
void image_take_ready_locked(struct image *image, int status, struct waiters *out);
/* Those who wait for any byte of [FIRST, END), likewise. */
void image_take_those_locked(struct image *image, uint64_t first, uint64_t end, int status, struct waiters *out);
void image_dirty_locked(struct image *image); /* something of it is not in the catalogue yet */
/* Its file is a new one, or not a partial one any more: so is its track. */
void image_track_locked(struct image *image);
void image_untrack_locked(struct image *image);
/* It is given up for now, for WHY, as one says who may not end its fetch himself: the attendant does it, and its waiters get STATUS. Any thread. */
void image_give_up(struct image *image, int status, const char *why);
int image_write_version(struct image *image); /* blocks: what the first answer for bytes told of its version, to the catalogue; 0 when it is there */

/* Somebody else may have to do something about it: the fetch thread will look, once for any number of such words. Any thread. */
void image_changed(struct image *image);
void image_changed_locked(struct image *image); /* the same, with image->lock held */

#endif
