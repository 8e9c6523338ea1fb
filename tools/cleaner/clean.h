/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emptying invalid/, and removing from incomplete/ what is stalled: what glance-cache-cleaner(1) does, and the HTTP server when it is asked
 * to. Works through the mount only.
 */
#ifndef GCFS_CLEAN_H
#define GCFS_CLEAN_H

#include "common/tool.h"

struct cleaned {
    uint64_t invalid, stalled, stalled_bytes; /* removed */
    uint64_t failed;                          /* what could not be removed, or not be looked at; logged */
};

/*
 * Stalled means: no byte came for STALL_TIME seconds, and nobody has the image open. How old a fetch is does not matter; both are looked at
 * again right before the image goes. Any thread; blocks on the mount. -errno, and *ret is right all the same; -EINTR: a signal asks to end.
 */
int clean_run(const struct tool_run *run, uint64_t stall_time, struct cleaned *ret);

/* An image in the report's LIST. REASON may be NULL. */
void clean_report(const struct tool_run *run, const char *list, const char *name, const char *reason, uint64_t bytes);
/* Logs, and reports, that WHAT failed with R. */
void clean_failed(const struct tool_run *run, const char *name, const char *what, int r);

#endif
