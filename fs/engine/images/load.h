/* SPDX-License-Identifier: Apache-2.0 */
/* Making and freeing an image, for the table of them. */
#ifndef GCFS_ENGINE_IMAGES_LOAD_H
#define GCFS_ENGINE_IMAGES_LOAD_H

#include "engine/images/image.h"

/* Of ROW (its state is changed when the disk does not have its file); not in the table yet, no reference. Blocks on the disk. -ESTALE: the
 * row is gone; what the catalogue or memory said. */
int image_new(struct engine *e, struct image_row *row, struct image **ret);
void image_free(struct image *image); /* nobody waits for it, nothing is asked for, and it has no track */

/* Is FD the file that ROW was made with? 0; -ESTALE: another one of its name; -EBADMSG: its size is wrong. One that was copied, and lost its
 * tag, is believed when it was whole. */
int image_check_file(int fd, const struct image_row *row);
/* The same of FD once R, of opening it, is 0; closes what is not it. */
int image_check_opened(int r, int fd, const struct image_row *row);

/* Can nobody say whether bytes that come are of the version of ROW? Then no more may be shown as it once bytes of it are gone. */
bool image_row_is_bare(const struct engine *e, const struct image_row *row);

#endif
