/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are handed to the cache whole: without a name until all of it is known to be right, so that nothing is left of one that never is. */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "image/id.h"
#include "store/private.h"

int store_new_nameless(struct store *s, int *ret_fd)
{
    int fd = openat(s->places[STORE_PARTIAL], ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
    if (fd < 0)
        return errno == EISDIR || errno == ENOENT ? -EOPNOTSUPP : -errno;
    *ret_fd = fd;
    return 0;
}

int store_name(struct store *s, const char *name, int fd)
{
    char path[64];
    assert(image_id_valid(name));
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (linkat(AT_FDCWD, path, s->places[STORE_COMPLETE], name, AT_SYMLINK_FOLLOW) < 0)
        return -errno;
    return fsync(s->places[STORE_COMPLETE]) < 0 ? -errno : 0;
}
