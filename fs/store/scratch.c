/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scratch files. No index: what there is stands in three small folders, which are read whenever something is sought by its number.
 *
 * The bytes of all files are counted as they grow; what makes them fewer counts them anew. Writers of one file at the same time may count
 * too many for a while, never too few. No lock.
 */
#include "config-auto.h"

#include "store/scratch.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scratch {
    int places[SCRATCH_PLACES]; /* descriptors of the folders */
    atomic_ullong bytes;
};

static bool is_name(const char *name)
{
    return name[0] != '\0' && name[0] != '.' && strchr(name, '/') == NULL;
}

/* An inode's number may use all of its 64 bits, where file systems are stacked. */
static uint64_t number_of(ino_t inode)
{
    uint64_t n = (uint64_t)inode;
    return (n ^ n >> 60) & ((UINT64_C(1) << 60) - 1);
}

/* ---- folders */

static int open_folder(int parent, const char *name, int *ret_fd)
{
    if (mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static bool add_bytes(void *context, const char *name, const struct scratch_file *file)
{
    unsigned long long *sum = context;
    (void)name;
    *sum += (unsigned long long)file->st.st_size;
    return true;
}

static int count_bytes(struct scratch *s)
{
    unsigned long long sum = 0;
    for (int place = 0; place < SCRATCH_PLACES; place++) {
        int r = scratch_each(s, (enum scratch_place)place, add_bytes, &sum);
        if (r < 0)
            return r;
    }
    atomic_store(&s->bytes, sum);
    return 0;
}

int scratch_open(const char *dir, struct scratch **ret)
{
    struct scratch *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    for (int place = 0; place < SCRATCH_PLACES; place++)
        s->places[place] = -1;
    int above = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = above < 0 ? -errno : open_folder(above, ".glance", &s->places[SCRATCH_TOP]);
    if (r == 0)
        r = open_folder(s->places[SCRATCH_TOP], "incomplete", &s->places[SCRATCH_INCOMPLETE]);
    if (r == 0)
        r = open_folder(s->places[SCRATCH_TOP], "invalid", &s->places[SCRATCH_INVALID]);
    if (r == 0 && (fsync(above) < 0 || fsync(s->places[SCRATCH_TOP]) < 0)) /* what is synced in them later is to be found */
        r = -errno;
    if (above >= 0)
        close(above);
    if (r == 0)
        r = count_bytes(s);
    if (r < 0) {
        scratch_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void scratch_close(struct scratch *s)
{
    for (int place = 0; s != NULL && place < SCRATCH_PLACES; place++) {
        if (s->places[place] >= 0)
            close(s->places[place]);
    }
    free(s);
}

/* ---- looking */

static int stat_at(int folder, const char *name, struct scratch_file *ret)
{
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOENT;
    *ret = (struct scratch_file){.number = number_of(st.st_ino), .st = st};
    return 0;
}

int scratch_find(struct scratch *s, enum scratch_place place, const char *name, struct scratch_file *ret)
{
    return is_name(name) ? stat_at(s->places[place], name, ret) : -ENOENT;
}

int scratch_each(struct scratch *s, enum scratch_place place, scratch_fn *fn, void *context)
{
    int fd = openat(s->places[place], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* a position of its own */
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct scratch_file file;
    if (stream == NULL) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while ((errno = 0, entry = readdir(stream)) != NULL) {
        if (is_name(entry->d_name) && stat_at(fd, entry->d_name, &file) == 0 && !fn(context, entry->d_name, &file))
            break;
    }
    int r = entry == NULL ? -errno : 0;
    closedir(stream);
    return r;
}

struct search {
    uint64_t number;
    struct scratch_file *ret;
    int folder, fd; /* FOLDER: that it is opened in, -1: it is not */
    int found;      /* 1, or why it could not be opened */
};

static bool compare(void *context, const char *name, const struct scratch_file *file)
{
    struct search *search = context;
    if (file->number != search->number)
        return true;
    *search->ret = *file;
    search->found = 1;
    if (search->folder >= 0) {
        search->fd = openat(search->folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
        search->found = search->fd < 0 ? -errno : 1;
    }
    return false;
}

static int seek(struct scratch *s, struct search *search, bool open_it)
{
    for (int place = 0; place < SCRATCH_PLACES && search->found == 0; place++) {
        search->folder = open_it ? s->places[place] : -1;
        int r = scratch_each(s, (enum scratch_place)place, compare, search);
        if (r < 0)
            return r;
    }
    return search->found > 0 ? 0 : search->found < 0 ? search->found : -ENOENT;
}

int scratch_get(struct scratch *s, uint64_t number, struct scratch_file *ret)
{
    struct search search = {.number = number, .ret = ret, .fd = -1};
    return seek(s, &search, false);
}

int scratch_open_file(struct scratch *s, uint64_t number, int *ret_fd)
{
    struct scratch_file file;
    struct search search = {.number = number, .ret = &file, .fd = -1};
    int r = seek(s, &search, true);
    if (r == 0)
        *ret_fd = search.fd;
    return r;
}

/* ---- changing */

static bool count_one(void *context, const char *name, const struct scratch_file *file)
{
    (void)name, (void)file;
    return ++*(int *)context < SCRATCH_FILES_MAX;
}

int scratch_create(struct scratch *s, enum scratch_place place, const char *name, struct scratch_file *ret)
{
    int files = 0, r = is_name(name) ? scratch_find(s, place, name, ret) : -EINVAL;
    if (r != -ENOENT)
        return r;
    r = scratch_each(s, place, count_one, &files);
    if (r < 0 || files >= SCRATCH_FILES_MAX)
        return r < 0 ? r : -EDQUOT;
    int fd = openat(s->places[place], name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return scratch_find(s, place, name, ret);
}

int scratch_remove(struct scratch *s, enum scratch_place place, const char *name)
{
    if (!is_name(name))
        return -ENOENT;
    if (unlinkat(s->places[place], name, 0) < 0)
        return errno == EISDIR || errno == EPERM ? -ENOENT : -errno;
    count_bytes(s);
    return 0;
}

int scratch_move(struct scratch *s, enum scratch_place place, const char *name, enum scratch_place to, const char *new_name)
{
    if (!is_name(name) || !is_name(new_name))
        return -ENOENT;
    if (renameat(s->places[place], name, s->places[to], new_name) < 0)
        return -errno;
    count_bytes(s);
    return 0;
}

int scratch_sync_folder(struct scratch *s, enum scratch_place place)
{
    return fsync(s->places[place]) < 0 ? -errno : 0;
}

/* Is there room for FD to end at END? Then it is counted. */
static int grow(struct scratch *s, int fd, off_t end)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (end <= st.st_size)
        return 0;
    unsigned long long more = (unsigned long long)(end - st.st_size);
    if (more <= SCRATCH_BYTES_MAX && atomic_fetch_add(&s->bytes, more) + more <= SCRATCH_BYTES_MAX)
        return 0;
    int r = count_bytes(s);
    return r < 0 ? r : -ENOSPC;
}

int scratch_write(struct scratch *s, int fd, const void *bytes, size_t size, off_t offset)
{
    int r = offset > INT64_MAX - (off_t)size ? -EFBIG : grow(s, fd, offset + (off_t)size);
    for (size_t done = 0; r == 0 && done < size;) {
        ssize_t n = pwrite(fd, (const char *)bytes + done, size - done, offset + (off_t)done);
        if (n > 0)
            done += (size_t)n;
        else if (n == 0 || errno != EINTR)
            r = n == 0 ? -EIO : -errno;
    }
    return r;
}

int scratch_truncate(struct scratch *s, int fd, off_t size)
{
    int r = grow(s, fd, size);
    if (r < 0)
        return r;
    if (ftruncate(fd, size) < 0)
        return -errno;
    count_bytes(s);
    return 0;
}
