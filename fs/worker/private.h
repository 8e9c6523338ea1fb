/* SPDX-License-Identifier: Apache-2.0 */
/* What worker and parts share. All of it is the main thread's. */
#ifndef GCFS_WORKER_PRIVATE_H
#define GCFS_WORKER_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "backends/backend.h"
#include "catalogue/catalogue.h"
#include "engine/engine.h"
#include "fuse/loop.h"
#include "fuse/passthrough.h"
#include "fuse/session.h"
#include "process/ledger.h"
#include "store/scratch.h"
#include "store/store.h"
#include "worker/worker.h"

enum { TRY_MS = 2000 }; /* how often a disk that could not be used is looked at again */

struct worker {
    const struct command_line *line;
    struct config *config;
    const struct backend_ops *ops;
    struct backend *backend; /* until the engine has it */
    gid_t view_group;
    uint32_t flags;          /* of GO */
    int fuse_fd, ledger_fd, arrivals_fd, backing_fd;
    int ended_fd; /* an eventfd: the connection to the kernel has ended */
    int trouble_fd; /* an eventfd: the catalogue cannot be used any more */
    bool damaged;   /* so that it is set aside at the end */
    struct store *store;
    struct scratch *scratch; /* NULL: none */
    struct catalogue *catalogue;
    struct ledger *ledger;
    struct arrivals *arrivals;
    struct fuse_world *world;
    struct engine *engine;
    struct passthrough *passthrough;
    struct fuse_loop *loop;
};

/* In this order; each says in the log what went wrong. What is made is W's until it stops. */
int worker_open_parts(struct worker *w); /* what is shared with the keeper, store and catalogue. -EBADMSG: the mount must be made afresh */
int worker_make_world(struct worker *w);
int worker_start_engine(struct worker *w);
int worker_connect_kernel(struct worker *w); /* from here on it is served */

#endif
