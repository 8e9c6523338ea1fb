/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this room share beside requests. */
#ifndef GCFS_ENGINE_FETCH_PRIVATE_H
#define GCFS_ENGINE_FETCH_PRIVATE_H

#include "engine/fetch/late.h"
#include "engine/fetch/reach.h"
#include "engine/fetch/yield.h"
#include "engine/images/image.h"

enum { CONNECTIONS_MAX = 64, CONNECTIONS_DEMAND = 16, BUFFERS = 16 };
enum { BLOCK = 256 << 10 }; /* what the kernel reads at once, see mount_read_ahead() */

/* A name whose version changed while it was fetched. */
struct unsteady {
    char name[IMAGE_ID_MAX + 1];
    int64_t at; /* monotonic; the last time */
    unsigned changes; /* each less than a minute after the one before */
};
enum { UNSTEADY = 16 };

/* All of it is the fetch thread's. */
struct fetch {
    TAILQ_HEAD(, image) active;
    struct unsteady unsteady[UNSTEADY];
    unsigned connections, capped, buffers; /* ranges: that have a transfer, that are capped, that have a buffer */
    struct late late;
    struct prefault *prefault;
    struct reach reach;
    struct yield yield;
    bool jumped; /* what was chosen just now is for a reader whom nobody could foresee */
};

#endif
