/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the backend to be asked about a name. */
#ifndef GCFS_ENGINE_LOOKUP_LOOKUP_H
#define GCFS_ENGINE_LOOKUP_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

struct engine;
struct waiter;

/*
 * Parks W on the look-up of NAME; starts one unless it is under way, with PROBE bytes. KNOWN: there is a row of it that can be shown, so that
 * nobody waits for a backend to come back. ENGINE_PARKED; -ENOMEM, -EINTR, -ECANCELED: W was not taken. Any thread, takes engine->lock.
 */
int lookup_park(struct engine *e, const char *name, size_t probe, bool known, struct waiter *w);

#endif
