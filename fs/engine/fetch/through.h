/* SPDX-License-Identifier: Apache-2.0 */
/* Images that are not kept. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_THROUGH_H
#define GCFS_ENGINE_FETCH_THROUGH_H

#include "engine/images/image.h"

/* Why what could not be written for ERROR is not kept. */
void through_failed(int error, char *why, size_t size);
void through_start(struct image *image, const char *why); /* from now on it is not kept */
void through_turn_back(struct image *image); /* one stream ends: a reader waits for what it dropped, or none is left */
void through_leave(struct image *image);                  /* when it is time to try the normal way again, it is known */

#endif
