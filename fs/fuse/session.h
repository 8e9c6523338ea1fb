/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view, spoken to the kernel: libfuse's low-level operations. Handlers run on libfuse's threads; those that must wait are parked and
 * answered by the engine's threads.
 */
#ifndef GCFS_FUSE_SESSION_H
#define GCFS_FUSE_SESSION_H

#include <stdbool.h>
#include <sys/types.h>

#include "engine/engine.h"
#include "fuse/passthrough.h"
#include "process/ledger.h"
#include "store/scratch.h"

struct fuse_session;
struct fuse_world;

enum fuse_users {
    FUSE_FOR_OWNER, /* and nobody else: the kernel sees to it */
    FUSE_FOR_ROOT,  /* and the user of this process: to the kernel it is for all, libfuse refuses the others */
    FUSE_FOR_ALL,
};

/*
 * Makes the world the handlers work in and a session for it (not yet mounted or attached). USERS: whom the mount is for. The engine is
 * given later, by fuse_world_start(), since it needs the notifications below first. -errno.
 */
int fuse_world_new(struct ledger *ledger, enum fuse_users users, bool debug, struct fuse_world **ret);
/* The files are of GROUP, and of their permissions only those in MASK are given. Before fuse_world_start(). */
void fuse_world_belongs(struct fuse_world *w, gid_t group, mode_t mask);
/* VIEWS (enum config_views) are shown, too. GLANCE_INDEX, the name of Glance's index, and SCRATCH, where its files are kept (NULL: they
 * cannot be), outlive the world. Before fuse_world_start(). */
void fuse_world_shows(struct fuse_world *w, unsigned views, const char *glance_index, struct scratch *scratch);
struct fuse_session *fuse_world_session(struct fuse_world *w);
const struct kernel_notify *fuse_world_notify(struct fuse_world *w);
/* After INIT was answered, before the session's loop runs. PASSTHROUGH may be NULL; WHY_NOT is shown in .status then. */
void fuse_world_start(struct fuse_world *w, struct engine *engine, struct catalogue *catalogue, struct passthrough *passthrough,
                      const char *why_not);
/*
 * From here on requests that wait are dropped without an answer when the engine wakes them with -ECANCELED: a later worker gets them
 * again from the kernel. Without this call they are answered with an error (the mount is going).
 */
void fuse_world_hand_over(struct fuse_world *w);
void fuse_world_free(struct fuse_world *w); /* after engine_stop(); destroys the session */

#endif
