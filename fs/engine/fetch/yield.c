/* SPDX-License-Identifier: Apache-2.0 */
/* When the background gives way; arithmetic only. */
#include "config-auto.h"

#include "engine/fetch/yield.h"

#include "base/clock.h"

bool yield_lasts(const struct yield *y, int64_t now)
{
    int64_t oldest = y->jumped[y->next];
    return oldest != 0 && now - oldest < NS_PER_S;
}

bool yield_jumped(struct yield *y, int64_t now)
{
    bool before = yield_lasts(y, now);
    y->jumped[y->next] = now;
    y->next = (y->next + 1) % YIELD_JUMPS;
    return !before && yield_lasts(y, now);
}
