/* SPDX-License-Identifier: Apache-2.0 */
/* Is the folder at the cache directory's path still the cache directory? It may be unmounted lazily, pulled out or moved away below us. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"

int store_is_there(const struct store *s)
{
    struct stat held, named;
    if (fstat(s->places[STORE_COMPLETE], &held) < 0)
        return -errno;
    if (stat(s->dir, &named) < 0)
        return errno == ENOENT || errno == ENOTDIR ? -ENODEV : errno == EACCES ? 0 : -errno;
    return held.st_dev == named.st_dev && held.st_ino == named.st_ino ? 0 : -ENODEV;
}

/* Without a lock file, who removed it had no reason to: a catalogue says enough. */
static int has_catalogue(int dir)
{
    struct stat st;
    return fstatat(dir, CATALOGUE_NAME, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 ? 0 : -ENODEV;
}

int store_is_held(const char *dir)
{
    int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return errno == ENOENT || errno == ENOTDIR ? -ENODEV : -errno;
    int fd = openat(parent, ".lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    int r = fd < 0 ? -errno : 0;
    if (r == -ENOENT)
        r = has_catalogue(parent);
    close(parent);
    if (fd < 0)
        return r;
    if (flock(fd, LOCK_SH | LOCK_NB) == 0)
        r = -ENODEV; /* the keeper, which lives, has not locked this one */
    else if (errno != EWOULDBLOCK)
        r = -errno;
    close(fd);
    return r;
}
