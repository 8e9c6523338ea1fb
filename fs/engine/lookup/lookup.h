/* SPDX-License-Identifier: Apache-2.0 */
/* What the backend says of a name: waiting for it to be asked, and what holds then. */
#ifndef GCFS_ENGINE_LOOKUP_LOOKUP_H
#define GCFS_ENGINE_LOOKUP_LOOKUP_H

#include "engine/images/shared.h"
#include "image/waiters.h"

int lookups_new(struct lookups **ret); /* -ENOMEM */
void lookups_free(struct lookups *t);  /* after lookup_stop(). NULL is fine */

/*
 * The live row of NAME: 0 and *ret; -ENOENT (the backend said so); -EACCES; -EHOSTUNREACH (it could not be asked); or ENGINE_PARKED, and
 * after W's wake(status): lookup_result() with that status.
 */
int lookup_name(struct engine *e, const char *name, struct waiter *w, struct image_row *ret);
int lookup_result(struct engine *e, const char *name, int status, struct image_row *ret);
/* Both, on a thread that may wait: as long as a look-up takes; lookup_stop() ends it with -ECANCELED. */
int lookup_name_blocking(struct engine *e, const char *name, struct image_row *ret);
bool lookup_waits(struct engine *e, const char *name); /* does the backend still owe somebody the answer? */

/*
 * lookup_name() for who keeps others waiting meanwhile: W is woken with -ETIMEDOUT after LOOKUP_HURRY_MS, and while the last look-up that ended took
 * longer than that, nobody waits at all. The look-up itself goes on, or ends when nobody else wants it. -ETIMEDOUT.
 */
enum { LOOKUP_HURRY_MS = 2000 };
int lookup_in_a_hurry(struct engine *e, const char *name, struct waiter *w, struct image_row *ret);

/* Is the cached image of ROW still the backend's? As engine_revalidate(). */
int lookup_revalidate(struct engine *e, int64_t row, struct waiter *w);
int lookup_revalidate_result(struct engine *e, int64_t row, int status);

void lookup_retry_early(struct engine *e); /* on the fetch thread: those that pause are tried now */
void lookup_take_interrupted(struct engine *e, struct waiters *out); /* any thread: those who do not want to wait any more */
void lookup_stop(struct engine *e); /* after the fetch thread ended: wakes who waits for answers that will not come */

#endif
