/* SPDX-License-Identifier: Apache-2.0 */
/* What the FUSE handlers share: the world they work in, and requests that are parked. */
#ifndef GCFS_FUSE_PRIVATE_H
#define GCFS_FUSE_PRIVATE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "base/shares.h"
#include "fuse/handles.h"
#include "fuse/session.h"
#include "view/view.h"

/* An open document: what it said when it was opened. Lost with the worker; a read then renders it anew. */
struct document {
    uint64_t handle;
    uid_t user;
    char *text;
    size_t length;
    UT_hash_handle hh;
};

/* An open scratch file. One without, of a worker before or beyond what a user may have, is opened anew by what asks for it. */
struct scratch_handle {
    uint64_t handle;
    uid_t user;
    int fd;
    UT_hash_handle hh;
};

/* A boot set that is being written. */
struct written {
    uint64_t handle;
    size_t length;
    UT_hash_handle hh;
    char text[BOOTSET_TEXT_MAX];
};

struct fuse_world {
    struct fuse_session *session;
    struct view view;
    struct handles handles;
    struct kernel_notify notify;
    atomic_bool handing_over;
    pthread_mutex_t lock;       /* a leaf */
    pthread_cond_t changed;     /* of connection */
    enum { CONNECTION_AWAITED, CONNECTION_STANDS, CONNECTION_NONE } connection; /* to the kernel; protected by lock */
    struct document *documents; /* protected by lock */
    struct shares document_users; /* who has them open: their texts are ours to keep; protected by lock */
    struct scratch_handle *scratch_handles; /* protected by lock */
    struct shares scratch_users; /* who has them open; protected by lock */
    struct written *written; /* protected by lock */
    uint64_t next_document;     /* of a document or scratch file; protected by lock; each worker has numbers of its own: handles outlive it */
};

/* A request that waits for the engine. */
struct parked {
    struct waiter waiter; /* the first member */
    fuse_req_t request;
    struct fuse_world *world;
    void (*answer)(struct parked *p, int status);
    uint64_t node, offset;
    size_t size;
    bool attributes;
    struct image *image; /* of a read; a reference */
    int64_t began;       /* of a read: monotonic */
    struct fuse_file_info file;
    uint64_t unique; /* of an OPEN */
    bool resent;
    char name[IMAGE_ID_MAX + 1];
};

/* parked.c */
struct fuse_world *world_of(fuse_req_t request);

/* A request about to be handed to the engine: Ctrl-C is listened for from here on. NULL: no memory, answered already. */
struct parked *park_new(fuse_req_t request, void (*answer)(struct parked *p, int status));
/* The engine did not park it after all: RESULT is the caller's to answer. */
void park_free(struct parked *p);

/* names.c */
/* The error R of what is open, as a positive errno. Its row may be gone, with a catalogue in memory: to look the name up again helps no reader. */
int gone_when_open(int r);
struct fuse_entry_param to_entry_param(const struct view_entry *entry);
void names_lookup(fuse_req_t request, fuse_ino_t parent, const char *name);
void names_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void names_setattr(fuse_req_t request, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *file);
void names_statfs(fuse_req_t request, fuse_ino_t node);
void names_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file);
void names_unlink(fuse_req_t request, fuse_ino_t parent, const char *name);
void names_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags);
/* refused */
void names_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device);
void names_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode);
void names_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name);
void names_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name);
void names_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char *name);

/* xattrs.c */
void xattrs_get(fuse_req_t request, fuse_ino_t node, const char *name, size_t size);
void xattrs_list(fuse_req_t request, fuse_ino_t node, size_t size);
void xattrs_set(fuse_req_t request, fuse_ino_t node, const char *name, const char *value, size_t size, int flags);
void xattrs_remove(fuse_req_t request, fuse_ino_t node, const char *name);

/* files.c: open, read, write, release */
void files_write(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file);
void files_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void files_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);
void files_release(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);

/* documents.c */
/* Opens the document NODE for a handle of USER: *file is set up for it. -EMFILE: he has too many, others may go on. */
int documents_open(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file);
void documents_read(fuse_req_t request, uint64_t node, size_t size, off_t offset, uint64_t handle);
void documents_close(struct fuse_world *w, uint64_t handle);
void documents_free(struct fuse_world *w); /* all that are open */

/* scratch.c: 0 (or as said) or negative errno */
int scratch_handle_open(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file); /* *file is set up for it */
void scratch_handle_close(struct fuse_world *w, uint64_t handle);
void scratch_handles_free(struct fuse_world *w); /* all that are open */
void scratch_read(fuse_req_t request, uint64_t node, size_t size, off_t offset, uint64_t handle);
void scratch_write_file(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file);
void scratch_fsync(fuse_req_t request, fuse_ino_t node, int only_data, struct fuse_file_info *file);
void scratch_fsyncdir(fuse_req_t request, fuse_ino_t node, int only_data, struct fuse_file_info *file);
int scratch_setattr(struct fuse_world *w, uint64_t node, const struct stat *attr, int to_set);
int scratch_getxattr(struct fuse_world *w, uint64_t node, const char *name, char *buffer, size_t size); /* the value's length */
int scratch_setxattr(struct fuse_world *w, uint64_t node, const char *name, const char *value, size_t size);

/* bootsets.c */
int bootsets_open(struct fuse_world *w, struct fuse_file_info *file); /* for writing; -EMFILE */
void bootsets_write(fuse_req_t request, const char *bytes, size_t size, off_t offset, uint64_t handle);
void files_flush(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void bootsets_close(struct fuse_world *w, uint64_t handle);
void bootsets_free(struct fuse_world *w); /* all that are open */

/* folders.c: readdir and readdirplus */
void folders_opendir(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void folders_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);
void folders_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);

#endif
