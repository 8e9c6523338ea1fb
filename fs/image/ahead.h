/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked for ahead of readers and is not read yet: read-ahead has to earn what it goes on with. image->lock is held. */
#ifndef GCFS_IMAGE_AHEAD_H
#define GCFS_IMAGE_AHEAD_H

#include "image/image.h"

/* What need not be earned: some bytes, or what comes in the time of so many answers. Of what was read, one part may be unread beside. */
enum { AHEAD_FREE = 8 << 20, AHEAD_ANSWERS = 32, AHEAD_SHARE = 4 };

void image_ahead_mark_locked(struct image *image, uint64_t first, uint64_t end); /* [FIRST, END) is asked for; who waits for it reads it later */
void image_ahead_read_locked(struct image *image, uint64_t offset, uint64_t length);
uint64_t image_ahead_unread_locked(const struct image *image); /* bytes */
uint64_t image_ahead_most_locked(const struct image *image);   /* that may be so */

#endif
