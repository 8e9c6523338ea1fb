/* SPDX-License-Identifier: Apache-2.0 */
/* The mount to work on: found in /proc/self/mountinfo, checked, and held open. One thread. */
#ifndef GCFS_FIND_MOUNT_H
#define GCFS_FIND_MOUNT_H

#include <jansson.h>
#include <stdint.h>

struct cache_mount {
    char *path;   /* the mount point */
    char *source; /* what is mounted there: the path of its configuration, unless -o fsname says otherwise */
    int fd;       /* of the mount point */
};

/*
 * MOUNT names it; or else CONFIG_FILE, of whose cache directory it is; or else (both NULL) there is only one. Logs one line and
 * returns a negative errno when there is none, it is not ours, or it does not answer: -ENOENT, -EINVAL (not ours), -ENOTUNIQ,
 * -ENOTCONN, -EACCES.
 */
int find_mount(const char *mount, const char *config_file, struct cache_mount *ret);
void cache_mount_close(struct cache_mount *mount);

/* .status as it is now; json_decref() it. Logs what is wrong. */
int cache_mount_status(const struct cache_mount *mount, json_t **ret);
/* A number of .status, as in ("space", "used"); 0 when it is not there. */
uint64_t cache_status_number(const json_t *status, const char *group, const char *name);

/* The one JSON line of FOLDER/NAME in queued/ or invalid/. -ENOENT, -EIO. Logs nothing. */
int cache_mount_document(const struct cache_mount *mount, const char *folder, const char *name, json_t **ret);
/* user.glance.KEY of FOLDER/NAME as text, "" when it has none. -ENOENT; logs nothing. */
int cache_mount_attribute(const struct cache_mount *mount, const char *folder, const char *name, const char *key, char *text,
                          size_t size);
/* A folder of the mount, open. Logs what is wrong. */
int cache_mount_folder(const struct cache_mount *mount, const char *folder, int *ret_fd);

#endif
