/* SPDX-License-Identifier: Apache-2.0 */
/* When the next worker may start. Pure. */
#include "config-auto.h"

#include "keeper/deaths.h"

#include "base/clock.h"

enum {
    AT_ONCE_MS = 1000,    /* a worker that lived shorter died at once */
    EARLY_DEATHS_MAX = 8, /* without serving anything */
    EARLY_DELAY_MS = 10, EARLY_DELAY_MAX_MS = 5000,
    QUICK_DEATHS_FREE = 3, QUICK_DELAY_MAX_MS = 100,
};

bool deaths_count(struct deaths *d, const struct death *death, int64_t *ret_delay)
{
    int64_t delay = 0;
    bool at_once = death->lived < AT_ONCE_MS * NS_PER_MS;
    if (!death->served || (at_once && !death->answered && !death->by_hand)) {
        d->early++;
        if (d->early >= EARLY_DEATHS_MAX)
            return false;
        delay = EARLY_DELAY_MS << (d->early - 1);
        delay = delay < EARLY_DELAY_MAX_MS ? delay : EARLY_DELAY_MAX_MS;
    } else {
        d->early = 0;
        d->quick = at_once ? d->quick + 1 : 0;
        if (d->quick > QUICK_DEATHS_FREE)
            delay = d->quick < QUICK_DELAY_MAX_MS / EARLY_DELAY_MS ? d->quick * EARLY_DELAY_MS : QUICK_DELAY_MAX_MS;
    }
    *ret_delay = delay * NS_PER_MS;
    return true;
}
