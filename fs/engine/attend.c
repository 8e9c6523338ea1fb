/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who changes an image says only that he did. Here is looked, on the fetch thread, what is due then (image/due.c), and the room whose it is
 * gets it to do. This is the one file that knows all of them; none of them knows it, nor the next.
 */
#include "config-auto.h"

#include "engine/attend.h"
#include "engine/evict/remove.h"
#include "engine/evict/space.h"
#include "engine/fetch/begin.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/replays.h"
#include "engine/fetch/request.h"
#include "engine/fetch/through.h"
#include "engine/fetch/window.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/publish/publish.h"
#include "engine/queue.h"
#include "image/due.h"

static unsigned look(struct image *image, bool *ret_again)
{
    EFFECTS(fx);
    image_lock(image);
    image->attending = false;
    image_take_ready_locked(image, image->dead, &fx);
    unsigned due = image_due_locked(image, clock_monotonic(), replays_wants(image), &fx);
    image_unlock(image);
    *ret_again = (due & DUE_AGAIN) != 0 && !prefetch_is_under_way(image->engine, image->name); /* then the queue does it */
    image_do(image, &fx);
    return due;
}

/* It has no file, and is wanted. */
static void begin(struct image *image)
{
    struct engine *e = image->engine;
    if (space_can_hold(e, image->meta.size))
        begin_file(image);
    else
        through_start(image, catalogue_is_memory(e->catalogue) ? "the cache directory cannot be used" : "it is larger than the cache");
}

static void stop(struct image *image)
{
    fetch_stop_ranges(image);
    fetch_leave(image);
}

static void do_beside(struct image *image, unsigned due)
{
    if (due & DUE_TRIM) {
        window_trim(image);
        through_turn_back(image);
    }
    if (due & DUE_EVICT)
        evict_unwanted(image);
    if (due & DUE_DIGEST)
        published_settle(image);
    if (due & DUE_HASH)
        hasher_follow(image);
}

static void do_due(struct image *image, unsigned due)
{
    if (due & DUE_FAIL)
        fetch_give_up(image);
    if (due & (DUE_REPLACE | DUE_DROP))
        stop(image);
    if (due & DUE_REPLACE)
        evict_replace(image);
    if (due & DUE_DROP)
        evict_drop_bytes(image);
    if (due & DUE_PASS)
        through_start(image, "the disk did not take its bytes");
    if (due & DUE_FINISH)
        verify_start(image);
    if (due & DUE_FETCH)
        fetch_enter(image);
    if (due & DUE_BEGIN)
        begin(image);
    if (due & DUE_LEAVE)
        stop(image);
}

void attend(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    bool again;
    if (atomic_load(&e->stopping)) {
        image_put(image);
        return;
    }
    range_serve(image);
    unsigned due = look(image, &again);
    range_hurry(image);
    do_beside(image, due);
    if ((due & DUE_KEEP) && space_can_hold(e, image->meta.size))
        through_leave(image);
    else
        do_due(image, due);
    if (again)
        queue_again(e, image->name);
    fetch_schedule(e);
    image_put(image);
}
