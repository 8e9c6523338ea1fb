/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: everything but the mount itself. It runs as its own process, started by the keeper, and can be killed and replaced at
 * any time. What it is given and how the two talk is in link.h.
 */
#ifndef GCFS_WORKER_H
#define GCFS_WORKER_H

#include <stdbool.h>

#include "config.h"
#include "passthrough.h"

struct worker;

/* What the worker is given with the mount. */
struct worker_mount {
    int fuse_fd, ledger_fd; /* stay the caller's */
    bool allow_other, debug;
    bool want_passthrough;
    struct passthrough *passthrough; /* NULL: none */
    const char *why_no_passthrough;
};

/*
 * Opens the store and the catalogue of CONFIG, starts the engine and serves the mount. ENDED_FD: see fuse_loop_start(). The reason of a
 * failure is logged. -EBADMSG: the catalogue was damaged and set aside, and the kernel knows inodes of the old one: the mount must be
 * made afresh. -ENODEV: unmounted already.
 */
int worker_start(const struct config *config, const struct worker_mount *mount, int ended_fd, struct worker **ret);
/* HAND_OVER: another worker goes on; requests that wait are left to it, and nothing is waited for that it can do again. */
void worker_stop(struct worker *w, bool hand_over);

#endif
