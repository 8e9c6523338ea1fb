/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, attributes and documents of the mounted view. No state but on which device the cache was found. */
#include "config-auto.h"

#include "api/cache/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "image/bootset.h"
#include "image/id.h"

enum { DOCUMENT_MAX = 16 * 1024 * 1024, NAME_SIZE = IMAGE_ID_MAX + 16 };

static const char *const FOLDERS[] = {"images", "cached", "queued", "incomplete", "invalid", "bootsets"};

static int path_of(char path[PATH_MAX], const char *mount, enum mount_folder folder, const char *id)
{
    if (id != NULL && !image_id_valid(id))
        return -ENOENT;
    int n = id != NULL ? snprintf(path, PATH_MAX, "%s/%s/%s", mount, FOLDERS[folder], id)
                       : snprintf(path, PATH_MAX, "%s/%s", mount, FOLDERS[folder]);
    return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* ---- is it the cache? */

/* A folder that only looks like a cache is on another kind of file system. */
int mount_hold(const char *mount, int *ret_fd)
{
    struct statfs fs;
    struct stat st;
    int fd = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? -ENOTCONN : -errno;
    int r = fstatfs(fd, &fs) < 0 ? -errno : fs.f_type != FUSE_SUPER_MAGIC ? -ENOTCONN : 0;
    if (r == 0 && fstatat(fd, ".status", &st, AT_SYMLINK_NOFOLLOW) < 0)
        r = errno == ENOENT ? -ENOTCONN : -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* Is what was found on DEV of the cache? Looked at when DEV is new only: the file system is not asked for every read. */
static int check_device(const char *mount, dev_t dev)
{
    static _Atomic(dev_t) known;
    struct stat st;
    int fd;
    if (atomic_load(&known) == dev)
        return 0;
    int r = mount_hold(mount, &fd);
    if (r < 0)
        return r;
    r = fstat(fd, &st) < 0 ? -errno : st.st_dev != dev ? -ENOTCONN : 0;
    close(fd);
    if (r == 0)
        atomic_store(&known, dev);
    return r;
}

static int check_fd(const char *mount, int fd)
{
    struct stat st;
    return fstat(fd, &st) < 0 ? -errno : check_device(mount, st.st_dev);
}

/* A folder where the mount should be also says ENOENT to what it has not: that is not an answer of the view. */
static int told(const char *mount, int error)
{
    int fd;
    if (error != -ENOENT)
        return error;
    int r = mount_hold(mount, &fd);
    if (r < 0)
        return r;
    close(fd);
    return -ENOENT;
}

int mount_open(const char *mount, const char *id, int *ret_fd)
{
    char path[PATH_MAX];
    int r = path_of(path, mount, FOLDER_IMAGES, id);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return told(mount, -errno);
    r = check_fd(mount, fd);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

/* ---- facts */

/* An attribute of the file at PATH, or of FD when PATH is NULL. A missing one is the empty text. */
static void attribute(const char *path, int fd, const char *name, char *value, size_t size)
{
    char full[64];
    snprintf(full, sizeof(full), "user.glance.%s", name);
    ssize_t n = path != NULL ? lgetxattr(path, full, value, size - 1) : fgetxattr(fd, full, value, size - 1);
    value[n < 0 ? 0 : n] = '\0';
}

static uint64_t number(const char *path, int fd, const char *name)
{
    char text[32];
    attribute(path, fd, name, text, sizeof(text));
    return strtoull(text, NULL, 10);
}

static double seconds(const struct timespec *t)
{
    return (double)t->tv_sec + (double)t->tv_nsec / 1e9;
}

static void progress(const char *path, int fd, double *modified)
{
    char text[64];
    attribute(path, fd, "last_progress", text, sizeof(text));
    if (text[0] != '\0')
        *modified = strtod(text, NULL);
}

static void collect(const char *path, int fd, const struct stat *st, unsigned which, struct facts *f)
{
    *f = (struct facts){.version = st->st_ino, .dated = st->st_mtim.tv_sec * INT64_C(1000000000) + st->st_mtim.tv_nsec,
                        .size = (uint64_t)st->st_size, .bytes = (uint64_t)st->st_blocks * 512,
                        .accessed = seconds(&st->st_atim), .modified = seconds(&st->st_mtim)};
    if (which & (FACT_STATE | FACT_MAP))
        f->bytes = number(path, fd, "bytes_cached");
    if (f->bytes > f->size)
        f->bytes = f->size;
    if (which & (FACT_STATE | FACT_MAP | FACT_HITS)) /* when bytes came; the file's time is that of its version */
        progress(path, fd, &f->modified);
    if (which & FACT_HITS)
        f->hits = number(path, fd, "hits");
    if (which & FACT_PINNED)
        f->pinned = number(path, fd, "pinned") != 0;
    if (which & FACT_OPEN)
        f->open = (unsigned)number(path, fd, "open");
    if (which & FACT_DIGEST) {
        attribute(path, fd, "os_hash_algo", f->hash_algo, sizeof(f->hash_algo));
        if (f->hash_algo[0] != '\0') /* the view knows one digest, or none */
            attribute(path, fd, "os_hash_value", f->hash_value, sizeof(f->hash_value));
        else
            attribute(path, fd, "checksum", f->checksum, sizeof(f->checksum));
    }
    if (which & FACT_ETAG)
        attribute(path, fd, "etag", f->etag, sizeof(f->etag));
    if (which & FACT_STATE) {
        attribute(path, fd, "state", f->state, sizeof(f->state));
        if (strcmp(f->state, "complete") != 0)
            attribute(path, fd, "error", f->error, sizeof(f->error));
    }
    if ((which & FACT_MAP) && f->bytes > 0 && f->bytes < f->size)
        attribute(path, fd, "map", f->map, sizeof(f->map));
    if (which & FACT_NAME)
        attribute(path, fd, "name", f->name, sizeof(f->name));
    if (which & FACT_FORMAT) {
        attribute(path, fd, "disk_format", f->disk_format, sizeof(f->disk_format));
        if (f->disk_format[0] != '\0')
            attribute(path, fd, "virtual_size", f->virtual_size, sizeof(f->virtual_size));
    }
}

int mount_facts(const char *mount, enum mount_folder folder, const char *id, unsigned which, struct facts *ret)
{
    char path[PATH_MAX];
    struct stat st;
    int r = path_of(path, mount, folder, id);
    if (r < 0)
        return r;
    if (lstat(path, &st) < 0)
        return told(mount, -errno);
    r = check_device(mount, st.st_dev);
    if (r < 0)
        return r;
    collect(path, -1, &st, which, ret);
    return 0;
}

int mount_facts_of(int fd, unsigned which, struct facts *ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    collect(NULL, fd, &st, which, ret);
    return 0;
}

/* ---- listings and documents */

int mount_each(const char *mount, enum mount_folder folder, mount_each_fn *each, void *context)
{
    char path[PATH_MAX];
    int r = path_of(path, mount, folder, NULL);
    if (r < 0)
        return r;
    DIR *dir = opendir(path);
    if (dir == NULL)
        return told(mount, -errno);
    r = check_fd(mount, dirfd(dir));
    while (r == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            r = -errno;
            break;
        }
        if (entry->d_name[0] != '.' && !each(context, entry->d_name))
            break;
    }
    closedir(dir);
    return r;
}

static int read_json(const char *mount, const char *path, json_t **ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    size_t length = 0, size = 16 * 1024;
    char *text = malloc(size);
    int r = text == NULL ? -ENOMEM : check_fd(mount, fd);
    while (r == 0) {
        ssize_t n = read(fd, text + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            r = n < 0 ? -errno : 0;
            break;
        }
        length += (size_t)n;
        if (length < size)
            continue;
        char *bigger = size < DOCUMENT_MAX ? realloc(text, size *= 2) : NULL;
        if (bigger == NULL)
            r = -ENOMEM;
        else
            text = bigger;
    }
    close(fd);
    json_t *document = r == 0 ? json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL) : NULL;
    free(text);
    if (r == 0 && document == NULL)
        r = -EBADMSG;
    if (r == 0)
        *ret = document;
    return r;
}

int mount_status(const char *mount, json_t **ret)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/.status", mount) >= (int)sizeof(path))
        return -ENAMETOOLONG;
    int r = read_json(mount, path, ret);
    return r == -ENOENT ? -ENOTCONN : r;
}

int mount_document(const char *mount, enum mount_folder folder, const char *id, json_t **ret)
{
    char path[PATH_MAX];
    int r = path_of(path, mount, folder, id);
    if (r == 0)
        r = read_json(mount, path, ret);
    return told(mount, r);
}

/* ---- changes */

bool mount_may_change(const char *mount)
{
    char path[PATH_MAX];
    return path_of(path, mount, FOLDER_QUEUED, NULL) == 0 && access(path, W_OK) == 0;
}

/* "queued/ID": below what mount_hold() holds. */
static int name_of(char name[NAME_SIZE], enum mount_folder folder, const char *id)
{
    if (!image_id_valid(id))
        return -ENOENT;
    snprintf(name, NAME_SIZE, "%s/%s", FOLDERS[folder], id);
    return 0;
}

int mount_queue(const char *mount, const char *id)
{
    char name[NAME_SIZE];
    int root, r = name_of(name, FOLDER_QUEUED, id);
    if (r == 0)
        r = mount_hold(mount, &root);
    if (r < 0)
        return r;
    int fd = openat(root, name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
    r = fd < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    close(root);
    return r;
}

int mount_remove(const char *mount, enum mount_folder folder, const char *id)
{
    char name[NAME_SIZE];
    int root, r = name_of(name, folder, id);
    if (r == 0)
        r = mount_hold(mount, &root);
    if (r < 0)
        return r;
    r = unlinkat(root, name, 0) < 0 ? -errno : 0;
    close(root);
    return r;
}

int mount_pin(const char *mount, const char *id, bool pinned)
{
    char name[NAME_SIZE], path[NAME_SIZE + 32];
    int root, r = name_of(name, FOLDER_IMAGES, id);
    if (r == 0)
        r = mount_hold(mount, &root);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", root, name);
    r = lsetxattr(path, "user.glance.pinned", pinned ? "1" : "0", 1, 0) < 0 ? -errno : 0;
    close(root);
    return r;
}

/* ---- boot sets */

int mount_bootset(const char *mount, const char *id, char **ret_text, size_t *ret_length)
{
    char path[PATH_MAX];
    int r = path_of(path, mount, FOLDER_BOOTSETS, id);
    if (r < 0)
        return r;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return told(mount, -errno);
    char *text = malloc(BOOTSET_TEXT_MAX);
    ssize_t n = text == NULL ? -1 : pread(fd, text, BOOTSET_TEXT_MAX, 0);
    r = text == NULL ? -ENOMEM : n < 0 ? -errno : check_fd(mount, fd);
    close(fd);
    if (r < 0) {
        free(text);
        return r;
    }
    *ret_text = text;
    *ret_length = (size_t)n;
    return 0;
}

bool mount_has_bootset(const char *mount, const char *id)
{
    char path[PATH_MAX];
    struct stat st;
    return path_of(path, mount, FOLDER_BOOTSETS, id) == 0 && lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}
