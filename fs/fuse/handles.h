/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an open of an image means to the ledger and to passthrough: a handle that outlives the worker, and how the kernel reads. Knows no
 * libfuse. Any thread; all may block on the disk and for the keeper.
 */
#ifndef GCFS_FUSE_HANDLES_H
#define GCFS_FUSE_HANDLES_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/engine.h"
#include "fuse/passthrough.h"
#include "process/ledger.h"

struct handles {
    struct engine *engine;
    struct ledger *ledger;
    struct passthrough *passthrough; /* NULL: off */
};

struct opening {
    int64_t row;
    uint32_t user;   /* who opens it */
    uint64_t unique; /* the kernel's number of the request */
    bool resent;
    bool uncounted;  /* opened with O_NOATIME: no use of the image, as when it is verified */
    /* what came of it: */
    uint64_t handle;
    bool passthrough; /* the kernel reads the file itself, by: */
    int backing_id;
    bool hit;
    bool fresh; /* nothing of it is here */
};

/* -ESTALE, -EMFILE (this user has his share), what the ledger, the engine and the disk say. Then there is no handle. */
int handles_open(struct handles *h, struct opening *o);
void handles_close(struct handles *h, int64_t row, uint64_t handle);
/* CONTEXT is the handles: images are closed that a dead worker was asked to open by who does not ask any more. */
void handles_drop_orphans(void *context);

#endif
