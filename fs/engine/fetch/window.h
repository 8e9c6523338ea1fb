/* SPDX-License-Identifier: Apache-2.0 */
/* The window of an image that goes straight through. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_WINDOW_H
#define GCFS_ENGINE_FETCH_WINDOW_H

#include "engine/images/image.h"

enum { THROUGH_WINDOW = 8 << 20 };

void window_trim(struct image *image); /* after readers were answered: drop what is beyond it */
/* Of one stream, whose only range is there: it is held while it would run away from its readers. True: somebody waits for what is behind it, and
 * nobody for more. */
bool window_keep_pace_locked(struct image *image);

#endif
