/* SPDX-License-Identifier: Apache-2.0 */
/* The images of one run of the prefetcher, and how far each of them is, by what queued/, cached/ and invalid/ show. One thread. */
#ifndef GCFS_PREFETCH_RUN_H
#define GCFS_PREFETCH_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/tool.h"
#include "prefetcher/wanted.h"

enum item_state { ITEM_WAITING, ITEM_FETCHING, ITEM_CACHED, ITEM_FAILED };

struct item {
    char *name;
    enum item_state state;
    bool seen;            /* was looked at before */
    uint64_t bytes, size; /* here, of all; size 0: not known yet */
    uint64_t bytes_before; /* that were here when it was first seen */
    double rate;          /* bytes a second, of late */
    int64_t began, looked, told; /* monotonic: first seen under way; last looked at; last told of in the log */
    char why[256];        /* with ITEM_FAILED */
};

struct prefetch_run {
    const struct tool_run *run;
    int queued, cached; /* folders */
    struct item *items;
    size_t count, room;
    size_t states[4]; /* how many items are in each state */
    int64_t began;
};

/* Queues what is WANTED, or where that is nothing takes all that is queued. -EINTR, -ENOMEM, or why the mount cannot be used; logged. */
int prefetch_collect(struct prefetch_run *p, const struct wanted *wanted);
/* Looks how far each image is; logs and reports each that came to its end. -EINTR. */
int prefetch_look(struct prefetch_run *p);
/* At the end: images that were evicted again meanwhile, for those behind them, have failed. Logs and reports them. */
void prefetch_count_again(struct prefetch_run *p);
/* Those that have not come to their end stand in the report as "queued". */
void prefetch_report_left(const struct prefetch_run *p);
bool prefetch_is_over(const struct prefetch_run *p);

#endif
