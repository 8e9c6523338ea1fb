/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for the backend to be asked about a name. */
#ifndef GCFS_ENGINE_LOOKUP_LOOKUP_H
#define GCFS_ENGINE_LOOKUP_LOOKUP_H

#include <stdbool.h>
#include <stddef.h>

struct engine;
struct waiter;
struct image_row;

/*
 * Parks W on the look-up of NAME; starts one unless it is under way, with PROBE bytes. KNOWN: there is a row of it that can be shown, so that
 * nobody waits for a backend to come back. ENGINE_PARKED; -ENOMEM, -EINTR, -ECANCELED: W was not taken. Any thread, takes engine->lock.
 */
int lookup_park(struct engine *e, const char *name, size_t probe, bool known, struct waiter *w);

/*
 * engine_lookup() for who keeps others waiting meanwhile: W is woken with -ETIMEDOUT after LOOKUP_HURRY_MS, and while the last look-up that ended took
 * longer than that, nobody waits at all. The look-up itself goes on, or ends when nobody else wants it. -ETIMEDOUT.
 */
enum { LOOKUP_HURRY_MS = 2000 };
int lookup_in_a_hurry(struct engine *e, const char *name, struct waiter *w, struct image_row *ret);

#endif
