/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the mount. A mount of ours has the type fuse.glance-cache-fs and its configuration's path as its source. What another
 * mount covers does not count, and a file system that is mounted in several places (bind mounts) counts once.
 */
#include "config-auto.h"

#include "common/find_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "config/config.h"
#include "image/id.h"

struct table {
    struct mountinfo *entries;
    size_t count;
};

/* ---- what is mounted */

static void free_table(struct table *table)
{
    for (size_t i = 0; i < table->count; i++)
        mountinfo_clear(&table->entries[i]);
    free(table->entries);
}

/* What is mounted later at the same place covers what was there. */
static int add_entry(struct table *table, struct mountinfo *entry)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->entries[i].point, entry->point) == 0) {
            mountinfo_clear(&table->entries[i]);
            table->entries[i] = *entry;
            return 0;
        }
    }
    struct mountinfo *more = reallocarray(table->entries, table->count + 1, sizeof(*more));
    if (more == NULL)
        return -ENOMEM;
    table->entries = more;
    more[table->count++] = *entry;
    return 0;
}

static int read_table(struct table *ret)
{
    struct table table = {.entries = NULL};
    struct mountinfo entry;
    char *line = NULL;
    size_t size = 0;
    int r = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (file == NULL)
        return log_errno(-errno, "/proc/self/mountinfo, which tells what is mounted, cannot be read");
    while (r == 0 && getline(&line, &size, file) > 0) {
        if (!mountinfo_parse(line, &entry))
            continue;
        r = add_entry(&table, &entry);
        if (r < 0)
            mountinfo_clear(&entry);
    }
    free(line);
    fclose(file);
    if (r < 0) {
        free_table(&table);
        return log_errno(r, "looking for the mount");
    }
    *ret = table;
    return 0;
}

/* ---- which one */

/* The directory of the configuration at PATH, or NULL: it cannot be read. */
static char *cache_dir_of(const char *path)
{
    char message[CONFIG_MESSAGE_MAX];
    struct config *config;
    struct stat st;
    if (path[0] != '/' || stat(path, &st) < 0 || !S_ISREG(st.st_mode) || /* the source of a mount may be the path of anything */
         config_load(path, &config, message) < 0)
        return NULL;
    char *dir = realpath(config->image_cache_dir, NULL);
    if (dir == NULL)
        dir = strdup(config->image_cache_dir);
    config_free(config);
    return dir;
}

static bool same_text(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

/* Does ENTRY serve the configuration PATH, or another one of the same cache directory DIR? */
static bool serves(const struct mountinfo *entry, const char *path, const char *dir)
{
    if (same_text(entry->source, path))
        return true;
    char *other = dir == NULL ? NULL : cache_dir_of(entry->source);
    bool same = same_text(other, dir);
    free(other);
    return same;
}

/*
 * Whose mounts count: what is read there comes from who mounted it, and so do the names of images that are to be removed. Anybody may mount
 * something of this type, with any source; root's, the caller's own, and those of the cache directory's owner are believed.
 */
static bool is_trusted(const struct mountinfo *entry, const char *dir)
{
    struct stat st;
    return entry->owner == 0 || entry->owner == (long long)geteuid() ||
           (dir != NULL && stat(dir, &st) == 0 && entry->owner == (long long)st.st_uid);
}

static const struct mountinfo *by_point(const struct table *table, const char *point)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcmp(table->entries[i].point, point) == 0)
            return &table->entries[i];
    }
    return NULL;
}

static int choose_named(const struct table *table, const char *mount, const struct mountinfo **ret)
{
    struct stat st;
    if (stat(mount, &st) < 0 && errno == ENOTCONN) {
        log_error("%s: the file system does not answer, its program has ended; mount it again", mount);
        return -ENOTCONN;
    }
    char *point = realpath(mount, NULL);
    if (point == NULL)
        return log_errno(-errno, "%s, named by --mount, cannot be used", mount);
    const struct mountinfo *entry = by_point(table, point);
    free(point);
    if (entry == NULL) {
        log_error("%s: nothing is mounted there; mount it with glance-cache-fs(8), or name another place by --mount", mount);
        return -ENOENT;
    }
    if (!mountinfo_is_ours(entry)) {
        log_error("%s: a file system of type %s is mounted there, not a glance-cache-fs", mount, entry->type);
        return -EINVAL;
    }
    *ret = entry;
    return 0;
}

/* The only one that serves PATH (NULL: whatever it serves). */
static int choose_only(const struct table *table, const char *path, const char *dir, const char *config_file,
                       const struct mountinfo **ret)
{
    const struct mountinfo *found = NULL, *foreign = NULL;
    for (size_t i = 0; i < table->count; i++) {
        const struct mountinfo *entry = &table->entries[i];
        if (!mountinfo_is_ours(entry))
            continue;
        if (!is_trusted(entry, dir)) {
            foreign = entry;
            continue;
        }
        if (path != NULL && !serves(entry, path, dir))
            continue;
        if (found != NULL && strcmp(found->device, entry->device) != 0) {
            log_error("more than one glance-cache-fs is mounted (%s, %s): say which one by --mount", found->point, entry->point);
            return -ENOTUNIQ;
        }
        if (found == NULL || (entry->whole && !found->whole))
            found = entry;
    }
    if (found == NULL && path != NULL)
        log_error("no glance-cache-fs with the configuration %s is mounted: mount it, or say by --mount where it is", config_file);
    else if (found == NULL)
        log_error("no glance-cache-fs is mounted: mount one, or say by --mount where it is");
    if (found == NULL && foreign != NULL)
        log_notice("%s is a mount of user %lld, which does not count unless --mount names it", foreign->point, foreign->owner);
    if (found == NULL)
        return -ENOENT;
    *ret = found;
    return 0;
}

static int choose_configured(const struct table *table, const char *config_file, const struct mountinfo **ret)
{
    char *path = realpath(config_file, NULL);
    if (path == NULL)
        return log_errno(-errno, "%s, named by --config-file, cannot be read", config_file);
    char *dir = cache_dir_of(path);
    int r = choose_only(table, path, dir, config_file, ret);
    free(dir);
    free(path);
    return r;
}

/* ---- opening it */

static int open_mount(const struct mountinfo *entry, struct cache_mount *ret)
{
    struct cache_mount m = {.fd = open(entry->point, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (m.fd < 0) {
        int r = -errno;
        if (r == -ENOTCONN)
            log_error("%s: the file system does not answer, its program has ended; mount it again", entry->point);
        else if (r == -EACCES)
            log_error("%s: this user may not use the mount: run as the user that mounted it, or mount it with -o allow_other",
                      entry->point);
        else
            log_errno(r, "%s cannot be opened", entry->point);
        return r;
    }
    m.path = strdup(entry->point);
    m.source = strdup(entry->source);
    if (m.path == NULL || m.source == NULL) {
        cache_mount_close(&m);
        return log_errno(-ENOMEM, "opening %s", entry->point);
    }
    *ret = m;
    return 0;
}

int find_mount(const char *mount, const char *config_file, struct cache_mount *ret)
{
    const struct mountinfo *entry = NULL;
    struct table table = {.entries = NULL};
    int r = read_table(&table);
    if (r < 0)
        return r;
    if (mount != NULL)
        r = choose_named(&table, mount, &entry);
    else if (config_file != NULL)
        r = choose_configured(&table, config_file, &entry);
    else
        r = choose_only(&table, NULL, NULL, NULL, &entry);
    if (r == 0)
        r = open_mount(entry, ret);
    free_table(&table);
    return r;
}

void cache_mount_close(struct cache_mount *mount)
{
    if (mount->fd >= 0)
        close(mount->fd);
    free(mount->path);
    free(mount->source);
    *mount = (struct cache_mount){.fd = -1};
}

/* ---- what is in it */

static size_t read_stream(void *buffer, size_t size, void *context)
{
    ssize_t n;
    while ((n = read(*(int *)context, buffer, size)) < 0 && errno == EINTR)
        continue;
    return n < 0 ? (size_t)-1 : (size_t)n;
}

static int read_json(const struct cache_mount *mount, const char *path, json_t **ret)
{
    int fd = openat(mount->fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    json_t *value = json_load_callback(read_stream, &fd, JSON_REJECT_DUPLICATES, NULL);
    close(fd);
    if (!json_is_object(value)) {
        json_decref(value);
        return -EIO;
    }
    *ret = value;
    return 0;
}

int cache_mount_status(const struct cache_mount *mount, json_t **ret)
{
    int r = read_json(mount, ".status", ret);
    return r < 0 ? log_errno(r, "%s/.status cannot be read", mount->path) : 0;
}

uint64_t cache_status_number(const json_t *status, const char *group, const char *name)
{
    json_int_t n = json_integer_value(json_object_get(json_object_get(status, group), name));
    return n < 0 ? 0 : (uint64_t)n;
}

int cache_mount_document(const struct cache_mount *mount, const char *folder, const char *name, json_t **ret)
{
    char path[IMAGE_ID_MAX + 32];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return read_json(mount, path, ret);
}

int cache_mount_attribute(const struct cache_mount *mount, const char *folder, const char *name, const char *key, char *text,
                          size_t size)
{
    char path[PATH_MAX], attribute[64];
    /* by the descriptor: what is asked, and then removed, must not be of two mounts */
    if ((size_t)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s/%s", mount->fd, folder, name) >= sizeof(path))
        return -ENAMETOOLONG;
    snprintf(attribute, sizeof(attribute), "user.glance.%s", key);
    ssize_t n = lgetxattr(path, attribute, text, size - 1);
    if (n < 0 && errno != ENODATA)
        return -errno;
    text[n < 0 ? 0 : n] = '\0';
    return 0;
}

int cache_mount_folder(const struct cache_mount *mount, const char *folder, int *ret_fd)
{
    int fd = openat(mount->fd, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return log_errno(-errno, "%s/%s cannot be opened", mount->path, folder);
    *ret_fd = fd;
    return 0;
}
