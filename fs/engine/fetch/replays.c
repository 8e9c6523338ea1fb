/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an earlier boot read is asked for before this one comes to it: behind what a reader waits for, before all else. It is a hint: it does not go
 * on when the image is not kept, when its fetch fails, or when nobody has it open.
 */
#include "config-auto.h"

#include "base/clock.h"
#include "engine/bootset/boots.h"
#include "engine/fetch/replays.h"

enum { ROOM_FIRST = 1 << 20, ROOM_LEAST = 128 << 10, CONNECTIONS = 8, REQUEST = 2 << 20, WINDOW_LEAST = 4 << 20, WINDOW_MOST = 64 << 20, GAP_MOST = 64 << 10 };

static uint64_t within(uint64_t value, uint64_t least, uint64_t most)
{
    return value < least ? least : value > most ? most : value;
}

bool replays_wants(const struct image *image)
{
    return !image->through && !image->no_range && !image->unproven && boot_replays(image->boot);
}

bool replays_choose_locked(struct image *image, const struct choice *c, struct span *ret)
{
    struct bootspan next;
    if (image->boot == NULL || c->through || c->background >= CONNECTIONS)
        return false;
    /* What is under way is what comes in two round trips: the way is never idle, and who waits for something else waits for one of them. */
    uint64_t room = within(c->reach > 0 ? 2 * c->reach : ROOM_FIRST, ROOM_LEAST, UINT64_MAX);
    if (c->claimed >= room)
        return false;
    uint64_t window = within(image->rate ? image->rate : WINDOW_MOST, WINDOW_LEAST, WINDOW_MOST);
    while (boot_next(image->boot, window, GAP_MOST, &next)) {
        bool found = plan_gap(c->map, c->busy, c->busy_count, next.first, next.end, within(room / 2, CHUNK_MIN, REQUEST), ret);
        boot_pass(image->boot, found ? ret->first : next.first, found ? ret->end : next.end, found);
        if (found)
            return true;
    }
    return false;
}
