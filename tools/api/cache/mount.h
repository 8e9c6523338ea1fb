/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount, as a program sees it: the only room of the server that knows paths of the view. Every id has passed image_id_valid() here,
 * so that no request can name anything outside the view.
 *
 * No state but the mount's path; any thread. All functions may block: on the disk, and, for images not in the cache, on the backend.
 * They return 0 or a negative errno. -ENOENT means that the view says so; when no cache is mounted there, it is -ENOTCONN, also where a plain
 * folder has the same names below it. What changes something does it in the very mount that was looked at.
 */
#ifndef GCFS_API_MOUNT_H
#define GCFS_API_MOUNT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

enum mount_folder { FOLDER_IMAGES, FOLDER_CACHED, FOLDER_QUEUED, FOLDER_INCOMPLETE, FOLDER_INVALID, FOLDER_BOOTSETS };

/* What an image's file and its attributes tell; texts are empty where nothing is known. */
struct facts {
    uint64_t size, bytes; /* of the image; in the cache */
    uint64_t version;     /* of this mount: another one for each version of an image */
    int64_t dated;        /* ns since 1970: the time of that version */
    double accessed, modified; /* seconds since 1970 */
    uint64_t hits;
    bool pinned;
    unsigned open; /* handles */
    char state[16];
    char checksum[40], hash_algo[16], hash_value[136];
    char etag[512], error[512], name[512], disk_format[64], virtual_size[24], map[136];
};

/* Which attributes are wanted: each costs a question to the file system. */
enum { FACT_HITS = 1, FACT_PINNED = 2, FACT_DIGEST = 4, FACT_ETAG = 8, FACT_STATE = 16, FACT_MAP = 32, FACT_NAME = 64, FACT_OPEN = 128,
       FACT_FORMAT = 256, FACT_ALL = 511 };

/*
 * Holds the root of the mount (O_PATH), so that what is done below *RET_FD is done in the cache and not in a folder below it, whatever happens to
 * the path meanwhile. While it is held the cache cannot be unmounted.
 */
int mount_hold(const char *mount, int *ret_fd);

/* Opens images/ID for reading: a miss is described by the backend before it returns. The caller closes *ret_fd. */
int mount_open(const char *mount, const char *id, int *ret_fd);
int mount_facts(const char *mount, enum mount_folder folder, const char *id, unsigned which, struct facts *ret);
int mount_facts_of(int fd, unsigned which, struct facts *ret);

/* Calls EACH for the names in a folder until it returns false. A listing that may be incomplete ends with -errno after the names. */
typedef bool mount_each_fn(void *context, const char *name);
int mount_each(const char *mount, enum mount_folder folder, mount_each_fn *each, void *context);

/* The JSON of .status; of queued/ID and invalid/ID. The caller owns *ret. */
int mount_status(const char *mount, json_t **ret);
int mount_document(const char *mount, enum mount_folder folder, const char *id, json_t **ret);

/* The text of bootsets/ID; free(*ret_text). -ENOENT. Is there one? */
int mount_bootset(const char *mount, const char *id, char **ret_text, size_t *ret_length);
bool mount_has_bootset(const char *mount, const char *id);

/* May this user do what follows? Says nothing of a mount that is not there. */
bool mount_may_change(const char *mount);
int mount_queue(const char *mount, const char *id);
int mount_remove(const char *mount, enum mount_folder folder, const char *id);
int mount_pin(const char *mount, const char *id, bool pinned);

/*
 * A file for the bytes of an image that the backend is being given (written once, from its beginning on), and the root of the mount it is in; both
 * are the caller's to close, the file first. Closed without mount_hand_over() it is gone; after it the cache has the image once the backend says that
 * it is right.
 */
int mount_hand_begin(const char *mount, const char *id, int *ret_root, int *ret_fd);
int mount_hand_over(int root, const char *id);

#endif
