/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of images that the catalogue does not count yet, of all images together. */
#ifndef GCFS_ENGINE_IMAGES_ACCOUNT_H
#define GCFS_ENGINE_IMAGES_ACCOUNT_H

#include "engine/images/image.h"

/* They became more or fewer; of them, those under way. image->lock held. What goes straight through takes nothing. */
void space_count(struct image *image, int64_t unwritten, int64_t reserved);

#endif
