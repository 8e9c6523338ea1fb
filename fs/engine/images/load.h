/* SPDX-License-Identifier: Apache-2.0 */
/* Making and freeing an image, for the table of them. */
#ifndef GCFS_ENGINE_IMAGES_LOAD_H
#define GCFS_ENGINE_IMAGES_LOAD_H

#include "engine/private.h"

/* Of ROW (its state is changed when the disk does not have its file); not in the table yet, no reference. Blocks on the disk. -ESTALE: the
 * row is gone; what the catalogue or memory said. */
int image_new(struct engine *e, struct image_row *row, struct image **ret);
void image_free(struct image *image); /* nobody waits for it, nothing is asked for, and it has no track */

/* image_check_file() of FD once R, of opening it, is 0; closes what is not it. */
int image_check_opened(int r, int fd, const struct image_row *row);

#endif
