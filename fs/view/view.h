/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view: what each path of the mount shows, and what touch, rm and mv do there. Knows no libfuse.
 *
 *   /                .status  images/  cached/  queued/  incomplete/  invalid/  bootsets/
 *   and, where they are asked for (option views):
 *   /glance/         queue/  incomplete/  invalid/, images by their ids, and what Glance puts beside them
 *   /nova/           images by the SHA-1 values of their ids
 *
 * Any thread. Functions that may answer ENGINE_PARKED never wait for the network; all may block on the disk.
 */
#ifndef GCFS_VIEW_H
#define GCFS_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "engine/engine.h"
#include "store/scratch.h"
#include "view/node.h"

struct view {
    struct engine *engine;
    struct catalogue *catalogue;
    unsigned views;            /* of enum config_views */
    struct scratch *scratch;   /* for glance/; NULL: nothing can be kept there */
    const char *glance_index;  /* how Glance's index is called */
    const char *(*passthrough_state)(const void *context); /* "on", or why not: for .status */
    const void *passthrough;                               /* its context */
    uid_t uid;               /* whom the files belong to */
    gid_t gid;
    mode_t mask;             /* the permissions that may be given at all */
};

struct view_entry {
    uint64_t node;
    struct stat attr;
    double entry_timeout, attr_timeout; /* seconds the kernel may keep them */
};

/* ---- looking */

/* Is there something to be done before a name is looked up in PARENT? */
static inline bool view_lookup_prepares(uint64_t parent) { return parent == NODE_NOVA; }
/* Where there is, before NAME is looked up: 0, or ENGINE_PARKED: any status of the wake means go on. */
int view_lookup_ready(const struct view *v, uint64_t parent, const char *name, struct waiter *w);
/* NAME in the folder PARENT. -ENOENT, -EACCES, -EHOSTUNREACH; ENGINE_PARKED: then view_lookup_result() with the wake's status. */
int view_lookup(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret);
int view_lookup_result(const struct view *v, uint64_t parent, const char *name, int status, struct view_entry *ret);
int view_getattr(const struct view *v, uint64_t node, struct stat *ret, double *ret_timeout); /* -ESTALE */

/* Before the first entries of FOLDER are read: 0, or ENGINE_PARKED: any status of the wake means go on. */
int view_list_ready(const struct view *v, uint64_t folder, struct waiter *w);
/*
 * Entries of FOLDER behind COOKIE (0: from the start). EMIT gets each with its cookie and says whether it took it (false: its buffer is
 * full). With ATTRIBUTES all of the entry is filled, else node and the file type only. -errno: the listing ends here, incomplete.
 */
typedef bool view_emit_fn(void *context, const char *name, const struct view_entry *entry, uint64_t cookie);
int view_list(const struct view *v, uint64_t folder, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context);

int view_statvfs(const struct view *v, struct statvfs *ret);

/* The text of .status, queued/…, invalid/… and bootsets/…; free() it. -ESTALE, -EINVAL (another node). */
int view_document(const struct view *v, uint64_t node, char **ret_text, size_t *ret_length);

/* ---- changing; each is done or refused, never half: -EPERM, -ENOENT, -EEXIST, -EBUSY */

/* touch PARENT/NAME. As view_lookup(), then view_create_result(). */
int view_create(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret);
int view_create_result(const struct view *v, const char *name, int status, struct view_entry *ret);
/* What was written to bootsets/NAME is its set from now on. -EINVAL: it is none, which is said in the log; -EFBIG. */
int view_write_bootset(const struct view *v, uint64_t node, const char *text, size_t length);
int view_unlink(const struct view *v, uint64_t parent, const char *name, struct waiter *w); /* ENGINE_PARKED: the status is the result */
int view_rename(const struct view *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name);
/* The names of scratch files in FOLDER are on the disk. Blocks. */
int view_sync_folder(const struct view *v, uint64_t folder);

/* ---- extended attributes: user.glance.*, on images */

/* The value's length, copied to BUFFER unless SIZE is 0. -ENODATA, -ERANGE, -ESTALE, -EOPNOTSUPP (not user.*). */
int view_getxattr(const struct view *v, uint64_t node, const char *name, char *buffer, size_t size);
int view_listxattr(const struct view *v, uint64_t node, char *buffer, size_t size);
/* user.glance.pinned only, "0" or "1" (or nothing: unpinned). -EPERM, -EINVAL, -EOPNOTSUPP. */
int view_setxattr(const struct view *v, uint64_t node, const char *name, const char *value, size_t size);

#endif
