/* SPDX-License-Identifier: Apache-2.0 */
/* Going through a folder of the mount. One thread. */
#ifndef GCFS_FOLDER_H
#define GCFS_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/find_mount.h"

/* Called with each entry's name. 1: that is enough; a negative errno ends it, too. */
typedef int folder_fn(void *context, const char *name);

/* All names of FOLDER, but . and .., as they come; an entry that goes meanwhile may or may not be among them. Stops when a signal
 * asks us to end (-EINTR). 0, -EINTR, what FN returned below 0, or what readdir(3) said; a failure of readdir is logged. */
int folder_each(const struct cache_mount *mount, const char *folder, folder_fn *fn, void *context);

/* NAME in the folder FD. FRESH: asks the file system, else what was listed just now may do. -ENOENT, -ESTALE as -ENOENT. */
struct folder_entry {
    uint64_t inode, size, blocks; /* blocks: bytes */
    int64_t accessed, modified;   /* nanoseconds since 1970 */
};
int folder_stat(int fd, const char *name, bool fresh, struct folder_entry *ret);

/* Removes NAME. -ENOENT: it is gone already. Logs nothing. */
int folder_remove(int fd, const char *name);

#endif
