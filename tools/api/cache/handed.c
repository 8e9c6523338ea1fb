/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are handed to the mount: its folder .handed/. No state. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "api/cache/mount.h"
#include "image/id.h"

enum { NAME_SIZE = IMAGE_ID_MAX + 16 };

int mount_hand_begin(const char *mount, const char *id, int *ret_root, int *ret_fd)
{
    char name[NAME_SIZE];
    int root, r = image_id_valid(id) ? mount_hold(mount, &root) : -ENOENT;
    if (r < 0)
        return r;
    snprintf(name, sizeof(name), ".handed/%s", id);
    int fd = openat(root, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        r = -errno;
        close(root);
        return r;
    }
    *ret_root = root;
    *ret_fd = fd;
    return 0;
}

int mount_hand_over(int root, const char *id)
{
    char from[NAME_SIZE], to[NAME_SIZE];
    snprintf(from, sizeof(from), ".handed/%s", id);
    snprintf(to, sizeof(to), "cached/%s", id);
    return renameat(root, from, root, to) < 0 ? -errno : 0;
}
