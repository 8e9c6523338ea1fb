/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of the mount: a listing brings the attributes with it (FUSE's READDIRPLUS) when each entry is looked at right behind it. */
#include "config-auto.h"

#include "common/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "common/tool.h"

int folder_each(const struct cache_mount *mount, const char *folder, folder_fn *fn, void *context)
{
    int fd, r = cache_mount_folder(mount, folder, &fd);
    if (r < 0)
        return r;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        r = -errno;
        close(fd);
        return log_errno(r, "%s/%s cannot be listed", mount->path, folder);
    }
    while (r == 0) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (tool_stopping())
            r = -EINTR;
        else if (entry == NULL && errno == 0)
            break;
        else if (entry == NULL)
            r = log_errno(-errno, "%s/%s cannot be listed to its end", mount->path, folder);
        else if (entry->d_name[0] != '.')
            r = fn(context, entry->d_name);
    }
    closedir(dir);
    return r < 0 ? r : 0;
}

static int64_t nanoseconds(struct statx_timestamp t)
{
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

int folder_stat(int fd, const char *name, bool fresh, struct folder_entry *ret)
{
    struct statx st;
    int flags = AT_SYMLINK_NOFOLLOW | (fresh ? AT_STATX_FORCE_SYNC : AT_STATX_SYNC_AS_STAT);
    if (statx(fd, name, flags, STATX_BASIC_STATS, &st) < 0)
        return errno == ESTALE ? -ENOENT : -errno;
    *ret = (struct folder_entry){
        .inode = st.stx_ino, .size = st.stx_size, .blocks = st.stx_blocks * 512,
        .accessed = nanoseconds(st.stx_atime), .modified = nanoseconds(st.stx_mtime),
    };
    return 0;
}

int folder_remove(int fd, const char *name)
{
    if (unlinkat(fd, name, 0) == 0)
        return 0;
    return errno == ESTALE ? -ENOENT : -errno;
}
