/* SPDX-License-Identifier: Apache-2.0 */
/* A known image gets its file. */
#ifndef GCFS_ENGINE_FETCH_BEGIN_H
#define GCFS_ENGINE_FETCH_BEGIN_H

#include "engine/images/image.h"

/* On the fetch thread; IMAGE is known, and nobody begins it already. Has it made on the rows thread (image->hands until then); the image is
 * attended to again when it is there, goes through when it cannot be, or fails. */
void begin_file(struct image *image);

#endif
