/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of access while the clock of the machine is set: by hours, as a virtual machine is that was stopped, or by years, as a machine without
 * a battery is that has just started. Ages stay what they are. Without this, all would be too old for cache_ttl at once, or, read at a
 * time still to come, never be the least recently used.
 *
 * A step is seen by the clock that cannot be set. One that came while no worker ran cannot be told from time that passed, and is given an hour to
 * be taken back before anything expires. On the rows thread, but for the start.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "engine/evict/ages.h"
#include "engine/evict/victims.h"

enum { STEP_S = 10, FRESH_S = 3, SLACK_S = 1, GAP_S = 3600, NOTE_S = 60 };
static const char note[] = "clock_seen";

struct ages {
    int64_t offset, noted_at; /* wall clock less the running one, 0 at first; when it is noted next */
};

int ages_new(struct ages **ret)
{
    struct ages *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    *ret = a;
    return 0;
}

void ages_free(struct ages *a)
{
    free(a);
}

/* Since the machine started, also while it slept. */
static int64_t clock_running(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* After the start: was the clock far behind when a worker last looked? */
static void look_for_gap(struct engine *e, int64_t now)
{
    int64_t seen, ttl = (int64_t)e->config->cache_ttl * NS_PER_S;
    if (catalogue_note_get(e->catalogue, note, &seen) < 0 || now - seen < GAP_S * NS_PER_S)
        return;
    victims_hold(e, clock_monotonic() + (ttl < GAP_S * NS_PER_S ? ttl : GAP_S * NS_PER_S));
}

static void follow_step(struct engine *e, int64_t now, int64_t step)
{
    log_notice("the clock was set %s by %lld s; the ages of cached images follow", step > 0 ? "forward" : "back",
               (long long)((step > 0 ? step : -step) / NS_PER_S));
    touches_flush(e->touches, e->catalogue);
    int r = catalogue_shift_accessed(e->catalogue, step, now - FRESH_S * NS_PER_S, now);
    if (r < 0)
        log_errno(r, "the times of access of cached images could not follow the clock");
}

/* Others may have read an image since NOW was asked for: only what is later than they can be is of a time to come. */
static void end_future(struct engine *e, int64_t now)
{
    catalogue_end_future(e->catalogue, now, now + SLACK_S * NS_PER_S);
}

void ages_start(struct engine *e)
{
    end_future(e, clock_now());
}

void ages_tick(struct engine *e)
{
    int64_t now = clock_now(), running = clock_running(), step = now - running - e->ages->offset;
    if (e->config->cache_ttl != 0 && running >= e->ages->noted_at) {
        if (e->ages->noted_at == 0)
            look_for_gap(e, now);
        catalogue_note_set(e->catalogue, note, now);
        e->ages->noted_at = running + NOTE_S * NS_PER_S;
    }
    if (e->ages->offset != 0 && (step > STEP_S * NS_PER_S || step < -STEP_S * NS_PER_S))
        follow_step(e, now, step);
    e->ages->offset += step;
    end_future(e, now);
}
