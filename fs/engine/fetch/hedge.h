/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second request for bytes that somebody waits for while the first brings none, longer than others like it took (late.h): to another endpoint, or anew
 * over a connection of its own. Whichever brings them first goes on. On the fetch thread.
 */
#ifndef GCFS_ENGINE_FETCH_HEDGE_H
#define GCFS_ENGINE_FETCH_HEDGE_H

#include "engine/fetch/request.h"

/* What its owner does; hedge.c is below it. */
struct hedge_calls {
    const struct transfer_ops *ops; /* of the range's request; with the range */
    bool (*awaited)(const struct range *range);
};
void hedge_watch(struct range *range, const struct hedge_calls *calls); /* it was asked for just now */
void hedge_drop(struct range *range);  /* its request is over: nobody watches it, and the second one ends */

#endif
