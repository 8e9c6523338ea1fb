/* SPDX-License-Identifier: Apache-2.0 */
/* What came is verified, made durable and put in its place. */
#ifndef GCFS_ENGINE_PUBLISH_PUBLISH_H
#define GCFS_ENGINE_PUBLISH_PUBLISH_H

#include "engine/images/image.h"

void hasher_follow(struct image *image);        /* any thread: let the digest follow what is here by now; image->hashing is set */
void verify_start(struct image *image);         /* on the fetch thread: all chunks are here and the digest is settled */
void checkpoint_all(struct engine *e);          /* on the sync thread, about once a second */
void checkpoint_last(struct engine *e);         /* at the end, with only the rows thread left, which ends it */

#endif
