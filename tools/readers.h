/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads that read images to their end, so that they are fetched as for a reader: at once, before everything that nobody waits for, and
 * as many at a time as there are threads. What they read is thrown away; whether an image arrived is seen elsewhere.
 */
#ifndef GCFS_READERS_H
#define GCFS_READERS_H

#include "prefetch_run.h"

struct readers;

/* RUN, its items and its mount stay as they are until readers_stop(). Logged. */
int readers_start(const struct prefetch_run *run, size_t threads, struct readers **ret);
/* Interrupts reads that wait; NULL is fine. */
void readers_stop(struct readers *readers);

#endif
