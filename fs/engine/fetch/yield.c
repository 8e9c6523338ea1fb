/* SPDX-License-Identifier: Apache-2.0 */
/* When the background gives way; arithmetic only. */
#include "config-auto.h"

#include "engine/fetch/yield.h"

#include "base/clock.h"

enum { IN_THE_WAY = 64 << 20, WINDOW_MAX_S = 30 }; /* bytes: four of the longest requests */

int64_t yield_window(uint64_t bytes, int64_t ns)
{
    double takes = bytes == 0 ? 0 : (double)ns / (double)bytes * IN_THE_WAY;
    return takes < NS_PER_S ? NS_PER_S : takes > WINDOW_MAX_S * (double)NS_PER_S ? WINDOW_MAX_S * NS_PER_S : (int64_t)takes;
}

bool yield_lasts(const struct yield *y, int64_t now)
{
    int64_t oldest = y->jumped[y->next];
    return oldest != 0 && now - oldest < (y->window == 0 ? NS_PER_S : y->window);
}

bool yield_jumped(struct yield *y, int64_t now)
{
    bool before = yield_lasts(y, now);
    y->jumped[y->next] = now;
    y->next = (y->next + 1) % YIELD_JUMPS;
    return !before && yield_lasts(y, now);
}
