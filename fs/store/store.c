/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: opening the cache directory, and the files of images in it.
 *
 * A file is in one place at a time and moves by rename within the one file system:
 *
 *   incomplete/<name> ──publish──→ <name> ──retire──→ .retired/<row> ──→ removed
 *            └──────────quarantine──┴──→ invalid/<name> ──→ removed
 *
 * Only publishing is synced. A new partial file is not: when a power cut takes it, the catalogue's row finds no file at
 * the next start and begins anew. Nor is a removal: a file that comes back has no row, and is adopted or removed. What
 * reached the disk of the catalogue may be older than the files: each file has a tag of its own, which its row has, too,
 * so that a row is never believed of another file of its name.
 *
 * No lock: descriptors opened once, and paths that never change.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "image/id.h"
#include "store/private.h"

#define LABEL_ATTRIBUTE "user.glance-cache-fs"
#define TAG_ATTRIBUTE LABEL_ATTRIBUTE ".tag"

enum { TRY_BYTES = 1 << 20 };

static const char *const place_names[PLACES] = {
    [STORE_PARTIAL] = "incomplete",
    [STORE_INVALID] = "invalid",
    [STORE_QUEUE] = "queue",
};

static int place_fd(const struct store *s, enum store_place place, const char *name)
{
    assert(place >= STORE_COMPLETE && place <= STORE_QUEUE);
    assert(image_id_valid(name));
    return s->places[place];
}

/* ---- opening */

static int open_folder(int parent, const char *name, int *ret_fd)
{
    if (mkdirat(parent, name, 0750) < 0 && errno != EEXIST)
        return -errno;
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

static int open_all(struct store *s, const char *dir)
{
    s->dir = realpath(dir, NULL);
    if (!s->dir)
        return -errno;
    if (asprintf(&s->catalogue_path, "%s/" CATALOGUE_NAME, s->dir) < 0) {
        s->catalogue_path = NULL;
        return -ENOMEM;
    }
    int fd = open(s->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    s->places[STORE_COMPLETE] = fd;
    int r = 0;
    for (int place = STORE_PARTIAL; place < PLACES && r >= 0; place++)
        r = open_folder(fd, place_names[place], &s->places[place]);
    if (r >= 0)
        r = open_folder(fd, ".retired", &s->retired);
    if (r >= 0 && fsync(fd) < 0)
        r = -errno;
    s->keeps_tags = r >= 0 && fsetxattr(s->places[STORE_PARTIAL], TAG_ATTRIBUTE, "-", 1, 0) == 0;
    return r;
}

int store_open(const char *dir, struct store **ret)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    for (int place = 0; place < PLACES; place++)
        s->places[place] = -1;
    s->retired = -1;
    int r = open_all(s, dir);
    if (r < 0) {
        store_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int store_open_lost(const char *dir, struct store **ret)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    for (int place = 0; place < PLACES; place++)
        s->places[place] = -1;
    s->retired = -1;
    s->dir = strdup(dir);
    if (!s->dir || asprintf(&s->catalogue_path, "%s/" CATALOGUE_NAME, s->dir) < 0) {
        s->catalogue_path = NULL;
        store_close(s);
        return -ENOMEM;
    }
    *ret = s;
    return 0;
}

int store_try(const char *dir)
{
    static const char zeros[TRY_BYTES];
    char *path;
    if (asprintf(&path, "%s/.try", dir) < 0)
        return -ENOMEM;
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
    int r = fd < 0 ? -errno : 0;
    ssize_t n = r < 0 ? 0 : pwrite(fd, zeros, sizeof zeros, 0);
    if (r == 0 && n != (ssize_t)sizeof zeros)
        r = n < 0 ? -errno : -ENOSPC;
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return r;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (int place = 0; place < PLACES; place++)
        if (s->places[place] >= 0)
            close(s->places[place]);
    if (s->retired >= 0)
        close(s->retired);
    free(s->catalogue_path);
    free(s->dir);
    free(s);
}

const char *store_catalogue_path(const struct store *s)
{
    return s->catalogue_path;
}

int store_glance_index_path(const struct store *s, const char *db, char *path, size_t size)
{
    if (!db[0] || strchr(db, '/') || !strcmp(db, ".") || !strcmp(db, ".."))
        return -EINVAL;
    if (strlen(s->dir) + 1 + strlen(db) >= size)
        return -ENAMETOOLONG;
    snprintf(path, size, "%s/%s", s->dir, db);
    return 0;
}

/* ---- the files of images */

static int open_regular(int dir, const char *name, int flags, int *ret_fd)
{
    /* O_NONBLOCK: a FIFO that somebody put there must not stop us. */
    int fd = openat(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == EBADF) /* a folder of a disk that is lost */
        return -EIO;
    if (fd < 0)
        return errno == ELOOP || errno == EISDIR || errno == ENXIO ? -EINVAL : -errno;
    struct stat st;
    int r = 0;
    if (fstat(fd, &st) < 0)
        r = -errno;
    else if (!S_ISREG(st.st_mode))
        r = -EINVAL;
    else if (fcntl(fd, F_SETFL, flags) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

int store_open_image(struct store *s, enum store_place place, const char *name, int *ret_fd)
{
    return open_regular(place_fd(s, place, name), name, place == STORE_PARTIAL ? O_RDWR : O_RDONLY, ret_fd);
}

void store_new_tag(const struct store *s, char ret_tag[IMAGE_TAG_SIZE])
{
    uint64_t random[2];
    ret_tag[0] = '\0';
    if (s->keeps_tags && getrandom(random, sizeof random, 0) == (ssize_t)sizeof random)
        snprintf(ret_tag, IMAGE_TAG_SIZE, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

/* The tag first: whatever makes the size durable makes it durable, too. */
static int fill_partial(int fd, uint64_t size, const char *tag)
{
    if (tag[0] && fsetxattr(fd, TAG_ATTRIBUTE, tag, strlen(tag), 0) < 0)
        return -errno;
    /* A size beyond what the file system can hold is EINVAL for some. */
    if (ftruncate(fd, (off_t)size) < 0)
        return errno == EINVAL ? -EFBIG : -errno;
    return 0;
}

int store_create_partial(struct store *s, const char *name, uint64_t size, const char *tag, int *ret_fd)
{
    int dir = place_fd(s, STORE_PARTIAL, name);
    if (size > INT64_MAX)
        return -EFBIG;
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        return -errno;
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return -errno;
    int r = fill_partial(fd, size, tag);
    if (r < 0) {
        close(fd);
        unlinkat(dir, name, 0);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int store_stat_at(int dir, const char *name, struct store_file *ret)
{
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    *ret = (struct store_file){
        .size = (uint64_t)st.st_size,
        .allocated = (uint64_t)st.st_blocks * 512,
        .inode = st.st_ino,
        .accessed = nanoseconds(st.st_atim),
        .modified = nanoseconds(st.st_mtim),
    };
    return 0;
}

int store_stat(struct store *s, enum store_place place, const char *name, struct store_file *ret)
{
    return store_stat_at(place_fd(s, place, name), name, ret);
}

int store_move_at(int from_dir, const char *from, int to_dir, const char *to)
{
    return renameat(from_dir, from, to_dir, to) < 0 ? -errno : 0;
}

static bool is_file(int fd, int dir, const char *name)
{
    struct stat st;
    struct store_file file;
    return fstat(fd, &st) == 0 && store_stat_at(dir, name, &file) == 0 && file.inode == st.st_ino;
}

int store_publish(struct store *s, const char *name, int fd)
{
    int from = place_fd(s, STORE_PARTIAL, name), to = s->places[STORE_COMPLETE];
    int r = store_move_at(from, name, to, name);
    if (r < 0 && !(r == -ENOENT && is_file(fd, to, name)))
        return r;
    if (fsync(to) < 0 || fsync(from) < 0)
        return -errno;
    return 0;
}

void store_unpublish(struct store *s, const char *name, int fd)
{
    int from = s->places[STORE_COMPLETE], to = place_fd(s, STORE_PARTIAL, name);
    if (is_file(fd, from, name))
        store_move_at(from, name, to, name);
}

void store_row_name(int64_t row, char name[ROW_NAME_SIZE])
{
    assert(row > 0);
    snprintf(name, ROW_NAME_SIZE, "%" PRId64, row);
}

static int note_left(struct store *s, int r)
{
    if (r < 0 && r != -ENOENT)
        atomic_store(&s->left, true);
    return r;
}

bool store_left_files(struct store *s)
{
    return atomic_exchange(&s->left, false);
}

int store_retire(struct store *s, enum store_place place, const char *name, int64_t row)
{
    char to[ROW_NAME_SIZE];
    store_row_name(row, to);
    return note_left(s, store_move_at(place_fd(s, place, name), name, s->retired, to));
}

int store_quarantine(struct store *s, enum store_place place, const char *name)
{
    return note_left(s, store_move_at(place_fd(s, place, name), name, s->places[STORE_INVALID], name));
}

int store_open_retired(struct store *s, int64_t row, int *ret_fd)
{
    char name[ROW_NAME_SIZE];
    store_row_name(row, name);
    return open_regular(s->retired, name, O_RDONLY, ret_fd);
}

int store_remove_at(int dir, const char *name)
{
    return unlinkat(dir, name, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int store_remove(struct store *s, enum store_place place, const char *name)
{
    return note_left(s, store_remove_at(place_fd(s, place, name), name));
}

int store_remove_retired(struct store *s, int64_t row)
{
    char name[ROW_NAME_SIZE];
    store_row_name(row, name);
    return note_left(s, store_remove_at(s->retired, name));
}

/* ---- space and labels */

int store_space(struct store *s, uint64_t *ret_total, uint64_t *ret_available)
{
    struct statvfs st;
    if (fstatvfs(s->places[STORE_COMPLETE], &st) < 0)
        return -errno;
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    *ret_available = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}

int store_set_label(int fd, const char *text)
{
    return fsetxattr(fd, LABEL_ATTRIBUTE, text, strlen(text), 0) < 0 ? -errno : 0;
}

int store_get_tag(int fd, char ret_tag[IMAGE_TAG_SIZE])
{
    char value[IMAGE_TAG_SIZE];
    ssize_t n = fgetxattr(fd, TAG_ATTRIBUTE, value, sizeof value - 1);
    if (n < 0 && errno == ERANGE) /* somebody else's */
        n = snprintf(value, sizeof value, "?");
    if (n < 0 && errno != ENODATA && errno != ENOTSUP)
        return -errno;
    value[n > 0 ? n : 0] = '\0';
    memcpy(ret_tag, value, sizeof value);
    return 0;
}

int store_get_label(int fd, char *text, size_t size)
{
    char value[4096];
    ssize_t n = fgetxattr(fd, LABEL_ATTRIBUTE, value, sizeof value);
    if (n < 0)
        return -errno;
    if ((size_t)n >= size)
        return -ERANGE;
    memcpy(text, value, (size_t)n);
    text[n] = '\0';
    return 0;
}
