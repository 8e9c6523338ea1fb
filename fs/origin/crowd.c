/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests a server takes at once; arithmetic only. */
#include "config-auto.h"

#include "origin/crowd.h"

#include <errno.h>

#include "base/clock.h"

bool crowd_refused(struct crowd *c, unsigned others, unsigned pause, int64_t now)
{
    bool new = c->most == 0;
    unsigned least = c->falls < 6 ? 1u << c->falls : CROWD_PAUSE_MAX_S;
    if (pause < least)
        pause = least;
    if (pause > CROWD_PAUSE_MAX_S)
        pause = CROWD_PAUSE_MAX_S;
    if (new || others < c->most)
        c->most = others;
    c->falls++;
    c->more_at = now + pause * NS_PER_S;
    return new;
}

void crowd_alone(struct crowd *c)
{
    *c = (struct crowd){0};
}

void crowd_answered(struct crowd *c, unsigned open, int64_t now)
{
    if (c->most == 0 || open <= c->most)
        return;
    c->most = open;
    c->falls = c->falls > 1 ? c->falls - 1 : 1;
    c->more_at = now + (NS_PER_S << (c->falls < 6 ? c->falls - 1 : 5));
}

bool crowd_has_room(const struct crowd *c, unsigned open, int64_t now)
{
    return c->most == 0 || open < c->most || (open == c->most && now >= c->more_at);
}

bool crowd_is_refusal(int status, int error)
{
    if (status != 0)
        return status == 429 || status == 502 || status == 503 || status == 509; /* 502: of a proxy, when who stands behind it hangs up */
    return error == -ECONNREFUSED || error == -ECONNRESET || error == -ETIMEDOUT;
}
