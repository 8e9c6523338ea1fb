/* SPDX-License-Identifier: Apache-2.0 */
/* The backend's listing. */
#ifndef GCFS_ENGINE_LOOKUP_LISTING_H
#define GCFS_ENGINE_LOOKUP_LISTING_H

#include "backends/refusal.h"
#include "engine/images/shared.h"
#include "image/waiters.h"

int listings_new(int64_t listed_at, struct lister **ret); /* LISTED_AT: when the last one ended well, wall clock; 0: none. -ENOMEM */
void listings_free(struct lister *l); /* NULL is fine */

/* Is it fresh enough for `ls images/`? 0; or ENGINE_PARKED: woken when a listing ended (its status is for the log only). -EINTR. */
int listing_wait(struct engine *e, struct waiter *w);
int listing_status(struct engine *e, int64_t *ret_listed_at); /* how the last one ended, and as in listings_new() */
void listing_take_interrupted(struct engine *e, struct waiters *out);

/* What ASK returns; it is asked once more when the server has refused (*REFUSAL) a credential that was thought good. Blocks. */
int lister_ask(struct engine *e, int (*ask)(void *context), void *context, struct refusal *refusal);

#endif
