/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that others keep beside the cache: what Glance writes into the folder that it takes for its own (its index, its locks, downloads that
 * it makes itself). They lie on the disk below the cache directory, are no images, and no image is ever made of them.
 *
 *   <image_cache_dir>/.glance/<name>    SCRATCH_TOP
 *                     .glance/incomplete/<name>, .glance/invalid/<name>
 *
 * A file is known by its number, made of its inode's, so that it is found again by who knows nothing but that. All of them together have
 * SCRATCH_BYTES_MAX bytes at most, and a folder SCRATCH_FILES_MAX files.
 *
 * Any thread; every function may block on the disk. 0 (or as said) or a negative errno. Names are valid file names (asserted), without a
 * leading dot.
 */
#ifndef GCFS_STORE_SCRATCH_H
#define GCFS_STORE_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

struct scratch;

enum scratch_place { SCRATCH_TOP, SCRATCH_INCOMPLETE, SCRATCH_INVALID, SCRATCH_PLACES };
enum { SCRATCH_FILES_MAX = 1024, SCRATCH_BYTES_MAX = 1 << 30 };

struct scratch_file {
    uint64_t number; /* below 2^60 */
    struct stat st;
};

/* Below the cache directory DIR, whose folders are made when they are missing. Free it by scratch_close(), which takes NULL, too. */
int scratch_open(const char *dir, struct scratch **ret);
void scratch_close(struct scratch *s);

int scratch_find(struct scratch *s, enum scratch_place place, const char *name, struct scratch_file *ret); /* -ENOENT */
int scratch_get(struct scratch *s, uint64_t number, struct scratch_file *ret);                             /* -ENOENT */
/* Calls FN for each file of PLACE, in no order, until it returns false. */
typedef bool scratch_fn(void *context, const char *name, const struct scratch_file *file);
int scratch_each(struct scratch *s, enum scratch_place place, scratch_fn *fn, void *context);

/* Opens or makes NAME. -EDQUOT: there are SCRATCH_FILES_MAX files. */
int scratch_create(struct scratch *s, enum scratch_place place, const char *name, struct scratch_file *ret);
int scratch_remove(struct scratch *s, enum scratch_place place, const char *name); /* -ENOENT */
/* Replaces what lies at TO. -ENOENT. */
int scratch_move(struct scratch *s, enum scratch_place place, const char *name, enum scratch_place to, const char *new_name);
int scratch_sync_folder(struct scratch *s, enum scratch_place place);

/* A descriptor of the file, the caller's to close. -ENOENT. */
int scratch_open_file(struct scratch *s, uint64_t number, int *ret_fd);
int scratch_write(struct scratch *s, int fd, const void *bytes, size_t size, off_t offset); /* all of it; -ENOSPC: too much in all */
int scratch_truncate(struct scratch *s, int fd, off_t size);                                /* likewise */

#endif
