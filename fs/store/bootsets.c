/* SPDX-License-Identifier: Apache-2.0 */
/* The files of boot sets. No lock: each is replaced whole, and who reads has one or the other. */
#include "config-auto.h"

#include "store/bootsets.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "image/id.h"
#include "store/private.h"

#define FOLDER ".bootsets"

enum { ORPHAN_S = 60 }; /* so old, what is half written was left by a process that is gone */

/* -ENOENT: there is none yet, or no disk. */
static int open_folder(struct store *s, bool make, int *ret_fd)
{
    int top = s->places[STORE_COMPLETE];
    if (make && mkdirat(top, FOLDER, 0750) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(top, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

int store_read_bootset(struct store *s, const char *name, char *text, size_t size, size_t *ret_length)
{
    int folder;
    int r = open_folder(s, false, &folder);
    if (r < 0)
        return r;
    int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    r = fd < 0 ? -errno : 0;
    close(folder);
    if (fd < 0)
        return r;
    struct stat st;
    ssize_t n = 0;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    else if (st.st_size > (off_t)size)
        r = -EFBIG;
    else if ((n = pread(fd, text, size, 0)) < 0)
        r = -errno;
    close(fd);
    if (r == 0)
        *ret_length = (size_t)n;
    return r;
}

static int write_file(int folder, const char *name, const char *text, size_t length)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    ssize_t n = pwrite(fd, text, length, 0);
    int r = n == (ssize_t)length ? 0 : n < 0 ? -errno : -ENOSPC;
    if (r == 0 && fdatasync(fd) < 0) /* before the old one goes */
        r = -errno;
    close(fd);
    return r;
}

struct oldest {
    char name[NAME_MAX + 1];
    int64_t modified;
    unsigned count;
};

static int note_oldest(void *context, const char *name, const struct store_file *file)
{
    struct oldest *o = context;
    if (o->count++ == 0 || file->modified < o->modified) {
        snprintf(o->name, sizeof(o->name), "%s", name);
        o->modified = file->modified;
    }
    return 0;
}

static void make_place(struct store *s, int folder)
{
    struct oldest o = {.count = 0};
    if (store_scan_bootsets(s, note_oldest, &o) == 0 && o.count > STORE_BOOTSETS_MAX)
        store_remove_at(folder, o.name);
}

int store_write_bootset(struct store *s, const char *name, const char *text, size_t length)
{
    char temporary[40];
    uint64_t random;
    int folder;
    if (!image_id_valid(name))
        return -EINVAL;
    int r = open_folder(s, true, &folder);
    if (r < 0)
        return r;
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        random = 0;
    snprintf(temporary, sizeof(temporary), ".new-%016" PRIx64, random);
    r = write_file(folder, temporary, text, length);
    if (r == 0)
        r = store_move_at(folder, temporary, folder, name);
    if (r < 0)
        store_remove_at(folder, temporary);
    else
        make_place(s, folder);
    close(folder);
    return r;
}

int store_remove_bootset(struct store *s, const char *name)
{
    int folder;
    int r = open_folder(s, false, &folder);
    if (r < 0)
        return r;
    r = unlinkat(folder, name, 0) < 0 ? -errno : 0;
    close(folder);
    return r;
}

int store_stat_bootset(struct store *s, const char *name, struct store_file *ret)
{
    int folder;
    int r = open_folder(s, false, &folder);
    if (r < 0)
        return r;
    r = store_stat_at(folder, name, ret);
    close(folder);
    return r == -EINVAL ? -ENOENT : r;
}

static void remove_orphan(int folder, const char *name)
{
    struct stat st;
    if (strncmp(name, ".new-", 5) == 0 && fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + ORPHAN_S < time(NULL))
        store_remove_at(folder, name);
}

int store_scan_bootsets(struct store *s, store_scan_fn *fn, void *context)
{
    int folder;
    int r = open_folder(s, false, &folder);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    DIR *stream = fdopendir(folder);
    if (stream == NULL) {
        r = -errno;
        close(folder);
        return r;
    }
    struct dirent *entry;
    while (r == 0 && (entry = readdir(stream)) != NULL) {
        struct store_file file;
        if (!image_id_valid(entry->d_name))
            remove_orphan(folder, entry->d_name);
        else if (store_stat_at(folder, entry->d_name, &file) == 0)
            r = fn(context, entry->d_name, &file);
    }
    closedir(stream);
    return r;
}
