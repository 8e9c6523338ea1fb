/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What may be the id of an image: one path component that is safe as a file name of the cache directory.
 * Pure; any thread.
 */
#ifndef GCFS_IMAGE_ID_H
#define GCFS_IMAGE_ID_H

#include <stdbool.h>

enum { IMAGE_ID_MAX = 255 }; /* bytes, without the NUL */

/*
 * 1–255 bytes; no leading dot; no '/', no control character (below 0x20, 0x7f); not a name that the cache directory
 * itself uses: incomplete, invalid, queue, lost+found, cache.db (Glance's index) and its -wal, -shm, -journal.
 * Anything else is legal, UTF-8, spaces and URL or SQL metacharacters included.
 */
bool image_id_valid(const char *id);

#endif
