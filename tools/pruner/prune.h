/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing least recently used images until the cache is at or below its limit, and min_free is free: what glance-cache-pruner(1) does, and
 * the HTTP server when it is asked to. Works through the mount only.
 */
#ifndef GCFS_PRUNE_H
#define GCFS_PRUNE_H

#include "common/tool.h"

/* Down to what. */
struct prune_target {
    bool given;     /* false: the limit, and min_free */
    bool percent;   /* VALUE is a part of the limit */
    uint64_t value; /* else bytes */
};

struct pruned {
    uint64_t images, bytes; /* removed */
    uint64_t failed;        /* images that could not be removed */
    uint64_t over;          /* bytes that should go, too, and may not */
};

/* Any thread; waits for another pruner, and blocks on the mount. Logs what it does. -errno, and *ret is right all the same unless the
 * mount could not be opened; -EINTR: a signal asks to end. */
int prune_run(const struct tool_run *run, const struct prune_target *to, struct pruned *ret);

#endif
