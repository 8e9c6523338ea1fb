/* SPDX-License-Identifier: Apache-2.0 */
/* What came is verified, made durable and put in its place. */
#ifndef GCFS_ENGINE_PUBLISH_PUBLISH_H
#define GCFS_ENGINE_PUBLISH_PUBLISH_H

#include "engine/images/image.h"

void hasher_follow_locked(struct image *image); /* any thread: let the digest follow what is here by now */
void verify_start(struct image *image);         /* on the fetch thread: all chunks are here and the digest is settled */
int checkpoint_version(struct image *image);    /* blocks: what the first answer for bytes told of its version, to the catalogue; 0 when it is there */
void checkpoint_all(struct engine *e);          /* on the sync thread, about once a second */
void checkpoint_last(struct engine *e);         /* at the end, with only the rows thread left, which ends it */

#endif
