/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The view, spoken to the kernel: libfuse's low-level operations. Handlers run on libfuse's threads; those that must wait are parked and
 * answered by the engine's threads.
 */
#ifndef GCFS_FUSE_OPS_H
#define GCFS_FUSE_OPS_H

#include <stdbool.h>

#include "engine/engine.h"
#include "fuse/passthrough.h"
#include "process/ledger.h"

struct fuse_session;
struct fuse_world;

/*
 * Makes the world the handlers work in and a session for it (not yet mounted or attached). ALLOW_OTHER: the mount is for other users,
 * too. The engine is given later, by fuse_world_start(), since it needs the notifications below first. -errno.
 */
int fuse_world_new(struct ledger *ledger, bool allow_other, bool debug, struct fuse_world **ret);
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
