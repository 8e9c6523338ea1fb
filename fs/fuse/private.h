/* SPDX-License-Identifier: Apache-2.0 */
/* What the FUSE handlers share: the world they work in, and requests that are parked. */
#ifndef GCFS_FUSE_PRIVATE_H
#define GCFS_FUSE_PRIVATE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>

#include "fuse/ops.h"
#include "view/view.h"

/* An open document: what it said when it was opened. Lost with the worker; a read then renders it anew. */
struct document {
    uint64_t handle;
    uid_t user;
    char *text;
    size_t length;
    UT_hash_handle hh;
};

/* How many documents a user has open: their texts are ours to keep. */
struct document_user {
    uid_t user;
    unsigned open;
    UT_hash_handle hh;
};

struct fuse_world {
    struct fuse_session *session;
    struct view view;
    struct ledger *ledger;
    struct passthrough *passthrough; /* NULL: off */
    struct kernel_notify notify;
    atomic_bool handing_over;
    pthread_mutex_t lock;       /* a leaf */
    pthread_cond_t changed;     /* of connection */
    enum { CONNECTION_AWAITED, CONNECTION_STANDS, CONNECTION_NONE } connection; /* to the kernel; protected by lock */
    struct document *documents; /* protected by lock */
    struct document_user *document_users; /* protected by lock */
    uint64_t next_document;     /* protected by lock; each worker has numbers of its own: handles outlive it */
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
    struct fuse_file_info file;
    uint64_t unique; /* of an OPEN */
    bool resent;
    char name[IMAGE_ID_MAX + 1];
};

struct fuse_world *world_of(fuse_req_t request);

/* A request about to be handed to the engine: Ctrl-C is listened for from here on. NULL: no memory, answered already. */
struct parked *park_new(fuse_req_t request, void (*answer)(struct parked *p, int status));
/* The engine did not park it after all: RESULT is the caller's to answer. */
void park_free(struct parked *p);

void reply_entry(fuse_req_t request, const struct view_entry *entry);
struct fuse_entry_param to_entry_param(const struct view_entry *entry);

/* files.c: open, read, release */
void files_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void files_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);
void files_release(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void files_free_documents(struct fuse_world *w);
/* CONTEXT is the world: images are closed that a dead worker was asked to open by who does not ask any more. */
void files_drop_orphans(void *context);
/* Opens the document NODE for a handle of USER: *file is set up for it. -EMFILE: he has too many, others may go on. */
int files_open_document(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file);

/* folders.c: readdir and readdirplus */
void folders_opendir(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file);
void folders_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);
void folders_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file);

#endif
