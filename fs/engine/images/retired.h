/* SPDX-License-Identifier: Apache-2.0 */
/* Retired rows and their files, until the last handle is closed. All of these block on the disk. */
#ifndef GCFS_ENGINE_IMAGES_RETIRED_H
#define GCFS_ENGINE_IMAGES_RETIRED_H

#include "engine/images/shared.h"

/* Removes the retired row and its file when nobody has it open. What the disk does not let go stays, and counts, see agree_tick(). */
void retired_reap(struct engine *e, int64_t row);
void retired_reap_unused(struct engine *e); /* the same, of all that images_take_unused() tells */
/* Does the file of the retired ROW still lie where complete ones do? */
bool retired_is_left_behind(struct engine *e, const struct image_row *row);
/* Is what lies in PLACE under the name of ROW the file that it was made with? As image_check_file(); -ENOENT. */
int retired_check_place(struct engine *e, enum store_place place, const struct image_row *row);

#endif
