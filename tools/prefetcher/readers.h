/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that read images to their end, so that they are fetched as for a reader: at once, before everything that nobody waits for, and
 * as many at a time as there are threads. What they read is thrown away; whether an image arrived is seen elsewhere.
 */
#ifndef GCFS_READERS_H
#define GCFS_READERS_H

#include "prefetcher/prefetch_run.h"

struct readers;

/* The images of RUN that are not cached yet. Logged. */
int readers_start(const struct prefetch_run *run, size_t threads, struct readers **ret);
/* They take no further image. One that waits for bytes ends when these come or fail, or with the process: a read of a file can only be
 * interrupted by what ends the process. NULL is fine. */
void readers_leave(struct readers *readers);

#endif
