/* SPDX-License-Identifier: Apache-2.0 */
/* The table of images in memory: each is there once, for as long as somebody has a reference. Its lock stands before image->lock. */
#ifndef GCFS_ENGINE_IMAGES_IMAGES_H
#define GCFS_ENGINE_IMAGES_IMAGES_H

#include "engine/images/image.h"

/* UNUSED is told, on any thread, that images_take_unused() has something. -ENOMEM. */
int images_new(void (*unused)(void *engine), struct image_table **ret);
void images_free(struct image_table *t);  /* when it is empty. NULL is fine */

/* Loads the image of ROW or finds it, with one reference more. -ESTALE when there is no such row. Blocks on the disk. */
int image_load(struct engine *e, int64_t row, struct image **ret);
/* The row of an image known in memory turned out to be complete, or to have been that: takes its file. Blocks on the disk. -ESTALE: gone. */
int image_reload(struct image *image);
struct image *image_find(struct engine *e, int64_t row); /* with one reference more; NULL when it is not in memory */
bool image_is_loaded(struct engine *e, int64_t row);
void image_put(struct image *image); /* any thread; the last one frees it. Waits for nothing: what is to be done about its row is for others */
bool images_take_unused(struct engine *e, int64_t *ret_row); /* a retired row of which nobody has a reference any more */

void image_keep_open(struct image *image); /* in memory from here on, for the handles in the ledger */
/* The last handle of ROW is gone, unless another came meanwhile. False: it is not in memory for any. */
bool image_close(struct engine *e, int64_t row);

/* FN for each, with the table locked: it may lock the image, and nothing else. */
void images_each(struct engine *e, void (*fn)(struct image *image, void *context), void *context);
struct image **images_all(struct engine *e, size_t *ret_count); /* each with a reference more; free() it. NULL: no memory, and 0 */

/* At the start: images that a worker which died had fetched more of than the catalogue knows go there. Blocks on the disk. */
void image_take_over(struct engine *e);
/* At the end, with no thread left: any one of them, without a reference; NULL. It goes, whatever its references. */
struct image *images_any(struct engine *e);
void image_discard(struct image *image);

#endif
