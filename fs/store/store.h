/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The store: the files of the cache directory. The only room that knows their paths.
 *
 *   <dir>/<name>              a complete image (as Glance lays it out)
 *         incomplete/<name>   sparse, being filled
 *         invalid/<name>      kept for the cleaner
 *         queue/<name>        Glance's queue, taken over at start
 *         .retired/<row>      evicted or replaced while somebody had it open
 *         .catalogue.db       the index, opened by the catalogue
 *         .lock               locked by the one process that uses the directory
 *
 * Everything goes through the directory's descriptor; names are valid image ids (asserted), so that no name leaves it.
 * Files are 0640, directories 0750. Publishing is rename and fsync of both directories.
 *
 * Concurrency: no state of its own beyond descriptors; every function may be called from any thread and may block on
 * the disk; call none with a lock held. Functions return 0 (or as said) or a negative errno.
 */
#ifndef GCFS_STORE_H
#define GCFS_STORE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "image/meta.h"

struct store;

/* Opens DIR (which must exist: -ENOENT, -ENOTDIR) and makes the folders inside that are missing. */
int store_open(const char *dir, struct store **ret);
/* A store of DIR that cannot be used now: all that is asked of it fails. -ENOMEM. */
int store_open_lost(const char *dir, struct store **ret);
/* Can files be made and written in DIR, durably? 0, or why not. */
int store_try(const char *dir);
/* Is the folder at the store's path the one that was opened? 0; -ENODEV: another, or none; or what the disk said. */
int store_is_there(const struct store *s);
/* Is DIR the cache directory that a living process has locked? 0; -ENODEV: it is another folder; or what the disk said. */
int store_is_held(const char *dir);
void store_close(struct store *s); /* NULL is fine */

/*
 * May PATH become or go on being a cache directory: is it empty, ours, or Glance's (whose index is called GLANCE_INDEX)? 0; -ENOTEMPTY: it is
 * somebody else's, *ret_found is a name in it; -ENOENT, -ENOTDIR, -EACCES.
 */
#define STORE_NO_CACHE                                                                                                                  \
    "%s: %s has files of others in it (%s, for one), and neither a catalogue of ours nor what Glance keeps in its cache: name an empty folder"
int store_recognise(const char *path, const char *glance_index, char ret_found[NAME_MAX + 1]);

/* Locks the directory for this process and all that inherit *ret_fd, until the last copy is closed. -EWOULDBLOCK: in
 * use by another (its pid, when it could be read, in *ret_pid; 0). The lock file holds the pid of its owner. -EINVAL: .lock is no file, or
 * one with a second name. */
int store_lock(const char *dir, int *ret_fd, int *ret_pid);

/* The path of the catalogue, and of Glance's index DB (a name inside the directory). Valid until store_close(). */
const char *store_catalogue_path(const struct store *s);
int store_glance_index_path(const struct store *s, const char *db, char *path, size_t size);
/* Renames the damaged catalogue with its -wal and -shm to .catalogue.db.damaged-<UTC time>[…]; at most 3 are kept. */
int store_set_catalogue_aside(struct store *s, int64_t now);

enum store_place { STORE_COMPLETE, STORE_PARTIAL, STORE_INVALID, STORE_QUEUE };

struct store_file {
    uint64_t size;      /* bytes */
    uint64_t allocated; /* bytes of disk */
    uint64_t inode;
    int64_t accessed, modified; /* ns */
};

/* The file of an image, read-write (STORE_PARTIAL) or read-only (the others). -ENOENT; -EINVAL when not a regular
 * file, here and in store_stat(). */
int store_open_image(struct store *s, enum store_place place, const char *name, int *ret_fd);
/* A tag for a new file; "" where the file system keeps no attributes of files. */
void store_new_tag(const struct store *s, char ret_tag[IMAGE_TAG_SIZE]);
/* A new partial file of SIZE bytes, all hole, with TAG ("": without); replaces an old one. -ENOSPC, -EFBIG. */
int store_create_partial(struct store *s, const char *name, uint64_t size, const char *tag, int *ret_fd);
int store_stat(struct store *s, enum store_place place, const char *name, struct store_file *ret); /* -ENOENT */

/* A file without a name, which is gone when it is closed. -EOPNOTSUPP: the file system has none. */
int store_new_nameless(struct store *s, int *ret_fd);
/* It becomes <name>, its data synced by the caller, and the directory is synced. -EEXIST: there is one. */
int store_name(struct store *s, const char *name, int fd);

/* incomplete/<name> → <name>, both directories synced. FD is the file, its data synced by the caller; one that a try before, which failed
 * at the directories, has moved already is fine. -ENOENT. */
int store_publish(struct store *s, const char *name, int fd);
/* After a try that failed: <name> → incomplete/<name>, where a partial row's file is looked for, if it is the file FD. As far as it goes. */
void store_unpublish(struct store *s, const char *name, int fd);
/* The file of PLACE → .retired/<row>, or → invalid/<name> (replacing). -ENOENT. */
int store_retire(struct store *s, enum store_place place, const char *name, int64_t row);
int store_quarantine(struct store *s, enum store_place place, const char *name);
int store_open_retired(struct store *s, int64_t row, int *ret_fd);
/* Since it was asked last, did the disk refuse to remove or move away a file? Then it may lie where nothing expects it. */
bool store_left_files(struct store *s);
/* Removing what is not there is fine. */
int store_remove(struct store *s, enum store_place place, const char *name);
int store_remove_retired(struct store *s, int64_t row);

/* Calls FN for each regular file of PLACE whose name is a valid id, in no order; stops when FN returns non-zero and
 * returns that. Names that are not valid ids (Glance's temporary and lock files) are passed over. */
typedef int store_scan_fn(void *context, const char *name, const struct store_file *file);
int store_scan(struct store *s, enum store_place place, store_scan_fn *fn, void *context);
int store_scan_retired(struct store *s, int (*fn)(void *context, int64_t row), void *context);

/* Bytes the file system has in all, and still has for us (f_bavail). */
int store_space(struct store *s, uint64_t *ret_total, uint64_t *ret_available);

/* A complete file tells what it is in the extended attribute user.glance-cache-fs, so that a lost catalogue can be
 * rebuilt without the backend: a short text of the caller's. -ENOTSUP where the file system has none; -ENODATA;
 * -ERANGE. */
int store_set_label(int fd, const char *text);
int store_get_label(int fd, char *text, size_t size);
/* The tag that a file of the cache was made with, in user.glance-cache-fs.tag; "": it has none. */
int store_get_tag(int fd, char ret_tag[IMAGE_TAG_SIZE]);

#endif
