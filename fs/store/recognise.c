/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which folder may be a cache directory: an empty one, one of ours, one of Glance's. In any other, files of other people would be given away,
 * taken for images, and cleaned up. No state, no lock.
 */
#include "config-auto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/store.h"

static bool is_kind(int dir, const char *name, mode_t kind)
{
    struct stat st;
    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* Both of Glance's drivers make all three folders, and so do we; its index has a name of the configuration's. */
static bool is_cache(int dir, const char *glance_index)
{
    return is_kind(dir, ".catalogue.db", S_IFREG) || is_kind(dir, ".retired", S_IFDIR) || is_kind(dir, glance_index, S_IFREG) ||
           (is_kind(dir, "incomplete", S_IFDIR) && is_kind(dir, "invalid", S_IFDIR) && is_kind(dir, "queue", S_IFDIR));
}

/* What a file system has in its top folder, hidden files (no image is one of them) and empty folders of the right names are nobody's. */
static bool is_foreign(int dir, const char *name)
{
    if (name[0] == '.' || strcmp(name, "lost+found") == 0)
        return false;
    bool ours = strcmp(name, "incomplete") == 0 || strcmp(name, "invalid") == 0 || strcmp(name, "queue") == 0;
    return !ours || !is_kind(dir, name, S_IFDIR);
}

int store_recognise(const char *path, const char *glance_index, char ret_found[NAME_MAX + 1])
{
    DIR *stream = opendir(path);
    struct dirent *entry;
    int r = 0;
    if (stream == NULL)
        return -errno;
    if (!is_cache(dirfd(stream), glance_index)) {
        while (r == 0 && (errno = 0, entry = readdir(stream)) != NULL) {
            if (!is_foreign(dirfd(stream), entry->d_name))
                continue;
            snprintf(ret_found, NAME_MAX + 1, "%s", entry->d_name);
            r = -ENOTEMPTY;
        }
        if (r == 0 && errno != 0)
            r = -errno;
    }
    closedir(stream);
    return r;
}
