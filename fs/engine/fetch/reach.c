/* SPDX-License-Identifier: Apache-2.0 */
/* What comes in the time of an answer; arithmetic only. */
#include "config-auto.h"

#include "engine/fetch/reach.h"

#include "base/clock.h"

enum { BYTES_LEAST = 48 << 10, FORGOTTEN = 8 /* of the time and bytes seen, one part with each request */, LONGER = 16 };

/* What others wait for is in a wait, too: so the shortest counts, and is let go slowly. */
void reach_waited(struct reach *r, int64_t ns)
{
    if (ns <= 0)
        return;
    int64_t longer = r->wait + r->wait / LONGER + 1;
    r->wait = r->wait == 0 || ns < longer ? ns : longer;
}

void reach_got(struct reach *r, uint64_t bytes, int64_t ns, unsigned connections)
{
    if (bytes < BYTES_LEAST || ns <= 0)
        return;
    r->bytes += bytes * (connections > 0 ? connections : 1) - r->bytes / FORGOTTEN;
    r->ns += ns - r->ns / FORGOTTEN;
}

/* What comes in NS. */
static uint64_t in(const struct reach *r, int64_t ns)
{
    return r->ns == 0 || r->wait == 0 ? 0 : (uint64_t)((double)r->bytes / (double)r->ns * (double)ns) + 1;
}

uint64_t reach_of(const struct reach *r)
{
    return in(r, r->wait);
}

uint64_t reach_worth(const struct reach *r)
{
    return in(r, r->wait > REACH_NEAR_MS * NS_PER_MS ? r->wait : REACH_NEAR_MS * NS_PER_MS);
}
