/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend as it answers: the health of its endpoints, which of them is asked, and what is told of it. origin/login.h has its credentials.
 *
 * Any thread, but where it says otherwise. Its lock is a leaf; nothing is called while it is held.
 */
#ifndef GCFS_ORIGIN_H
#define GCFS_ORIGIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/backend.h"
#include "base/backoff.h"
#include "config/config.h"
#include "process/ledger.h"
#include "transfer/transfer.h"

enum { ENDPOINTS_MAX = CONFIG_ENDPOINTS_MAX, ENDPOINT_AUTH = ENDPOINTS_MAX }; /* the last: whom the backend's credentials come from */
/* The one bound of pauses between tries, also of those that a server asks for with Retry-After: somebody may wait. In glance-cache.conf(5). */
enum { PAUSE_MAX_S = BACKOFF_MAX_S };
enum { STREAMS_LOST_MAX = 3 }; /* HTTP/2 streams that the server gave up in a row, until it counts as a failure */

/* What it works with; all of it outlives the origin. */
struct origin_parts {
    const struct backend_ops *ops;
    struct backend *backend;
    struct transfers *transfers;
    struct ledger *ledger;
    void (*on_well)(void *context); /* on the fetch thread: an endpoint that failed answers again */
    void (*on_room)(void *context); /* on the fetch thread: more may be asked of it than before, see room.h */
    void *context;
};

struct origin;
int origin_new(const struct origin_parts *parts, struct origin **ret); /* -ENOMEM */
void origin_free(struct origin *o); /* with its loop ended, and nobody who waits. NULL is fine */

/* The endpoint to ask next. Bit mask in: those tried already are passed over while others are there; out: with it. */
unsigned origin_choose(struct origin *o, unsigned *ret_untried);
/* The same, but ENDPOINT while it was not tried and is not down. */
unsigned origin_prefer(struct origin *o, unsigned endpoint, unsigned *ret_untried);
unsigned origin_all(struct origin *o);      /* all endpoints, a bit each */
bool origin_all_down(struct origin *o);     /* each of them failed a moment ago */
int64_t origin_wait(const struct origin *o); /* ns to a first byte, smoothed; 0: not known yet */
void origin_waited(struct origin *o, int64_t waited); /* on the fetch thread: an answer began after so many ns */

/* It answered. After a failure the fetch thread is told by on_well. */
void origin_ok(struct origin *o, unsigned endpoint);
void origin_failed(struct origin *o, unsigned endpoint, int error, const char *what, unsigned retry_after);

/* ENDPOINT answered RESULT to a request with EXTRAS, after *OTHERS of it that were made otherwise: true, and one more of these: it is worth to
 * be made again at once, for it would be another one. */
bool origin_otherwise(struct origin *o, unsigned endpoint, unsigned extras, const struct transfer_result *result, unsigned *others);
/* NAME was not had because ENDPOINT answered 401 or 403, which WHAT tells: said in the log, once a minute. */
void origin_denied(struct origin *o, unsigned endpoint, const char *name, const char *what);
/* ENDPOINT does not send parts of NAME, and maybe of no image: said in the log, once. */
void origin_sends_whole(struct origin *o, unsigned endpoint, const char *name);

json_t *origin_status(struct origin *o); /* a list, for json_decref(); NULL: no memory */

#endif
