/* SPDX-License-Identifier: Apache-2.0 */
/* What hasher, verify, publish and checkpoint share. */
#ifndef GCFS_ENGINE_PUBLISH_PRIVATE_H
#define GCFS_ENGINE_PUBLISH_PRIVATE_H

#include "engine/publish/publish.h"

/* A turn of the hash thread: up to 64 MiB of IMAGE. 1: there is more at once; 0: no more for now; negative errno. Blocks on the disk. */
int hasher_turn(struct image *image);

void publish_image(void *image); /* a task of the sync thread, takes its reference: it is whole, and verified where there is a digest */
void publish_failed(struct image *image); /* any thread: it could not be: it stays partial, and is tried again after a pause */

/*
 * Bytes of IMAGE on the disk; FD is its file. -EIO: the disk did not take some of them, now or before. Linux tells of a failure once, drops
 * what it could not write, and says that all is well the next time: after a failure nothing of the file is believed any more. Blocks.
 */
int checkpoint_sync_data(struct image *image, int fd);
/* After that failed, any thread: it is served without the disk. DONE: its publishing ended with that. */
void checkpoint_forsake_disk(struct image *image, bool done);

#endif
