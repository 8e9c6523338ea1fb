/* SPDX-License-Identifier: Apache-2.0 */
/* How fast an image comes, and how many connections that is worth; arithmetic only. */
#include "config-auto.h"

#include "base/clock.h"
#include "engine/fetch/pace.h"

enum { RATE_BYTES_MIN = 1 << 20, CLEARLY_S = 4, PATIENCE_MS = 500 };

int64_t pace_wait(int64_t wait, int64_t waited)
{
    return wait ? (wait * 3 + waited) / 4 : waited;
}

uint64_t pace_rate(uint64_t rate, uint64_t bytes, int64_t took)
{
    if (bytes < RATE_BYTES_MIN || took <= 0)
        return rate;
    uint64_t seen = (uint64_t)((double)bytes * (double)NS_PER_S / (double)took);
    return rate ? (rate + seen) / 2 : seen;
}

/* What read-ahead saw of the server is a guess only: small requests, several at a time. */
unsigned pace_first(uint64_t rate, uint64_t size, unsigned streams)
{
    bool far = rate > 0 && size / CLEARLY_S > rate;
    return far ? streams : 1;
}

void pace_look(struct pace *p, int64_t now, uint64_t fetched, uint64_t left, unsigned streams)
{
    double speed = (double)(fetched - p->fetched) / ((double)(now - p->looked_at) / (double)NS_PER_S);
    bool slow = (double)left > speed;
    bool helped = p->raised_at == 0 || speed > 1.1 * p->raised_speed || now - p->raised_at > PATIENCE_MS * NS_PER_MS;
    if (slow && helped) {
        p->lanes = p->lanes * 2 < streams ? p->lanes * 2 : streams;
        p->raised_at = now;
        p->raised_speed = speed;
    }
    p->looked_at = now;
    p->fetched = fetched;
}
