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

uint64_t reach_of(const struct reach *r)
{
    if (r->ns == 0 || r->wait == 0)
        return 0;
    return (uint64_t)((double)r->bytes / (double)r->ns * (double)r->wait) + 1;
}
