/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetch thread: which bytes of which image are asked for next.
 *
 * An image that somebody waits for, reads ahead in, or wants whole is on the active list. After every change (engine/attend.c)
 * fetch_schedule() starts what may start, a class at a time over all active images: reads
 * someone waits for, read-ahead, whole images, prefetch. What has nothing left to do leaves the list.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/evict/space.h"
#include "engine/fetch/choose.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/lanes.h"
#include "engine/fetch/private.h"
#include "engine/fetch/replays.h"
#include "engine/fetch/request.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/images/images.h"
#include "image/ahead.h"
#include "origin/room.h"

enum { CUT_REACHES = 4 };

/* ---- choosing */

static struct choice look_at_locked(const struct image *image)
{
    struct choice c = {.map = image->map, .cursors = &image->cursors, .waiters = &image->waiters, .parked = image->parked,
                       .whole = image_wants_all_locked(image), .through = image->through, .told = replays_wants(image), .reach = image->reach, .worth = image->worth,
                       .unread = image_ahead_unread_locked(image), .unread_most = image_ahead_most_locked(image)};
    for (const struct range *r = range_first(image); r != NULL; r = range_next(r))
        choose_around(&c, r->claim.start, r->claim.pos, r->claim.end, r->class == FETCH_CLASS_DEMAND);
    choose_lengths(&c, image->rate, image->wait, image->fetched);
    if (yield_lasts(&image->engine->fetch->yield, clock_monotonic()))
        choose_little(&c);
    return c;
}

/* For bytes that are not here, that is: who has come just now may not have been looked at yet. */
static bool is_waited_for_locked(const struct image *image)
{
    const struct waiter *w;
    TAILQ_FOREACH(w, &image->waiters, link) {
        if (!image_available_locked(image, w->offset, w->length))
            return true;
    }
    return false;
}

/* What is under way in the background and would keep a link busy for long: what came of it stays, the rest is asked for anew. */
static void cut_background(struct fetch *f)
{
    struct image *image;
    TAILQ_FOREACH(image, &f->active, active_link) {
        for (struct range *r = range_first(image), *next; r != NULL; r = next) {
            next = range_next(r);
            bool background = r->class >= FETCH_CLASS_WHOLE_IMAGE && !image->no_range && !image->unproven;
            if (background && f->reach.wait > 0 && r->claim.end - r->claim.pos > CUT_REACHES * reach_of(&f->reach))
                range_free(r);
        }
    }
}

static unsigned rest_lanes(const struct image *image)
{
    return yield_lasts(&image->engine->fetch->yield, clock_monotonic()) ? 1 : lanes_of(image);
}

static bool choose_locked(struct image *image, enum fetch_class class, struct span *ret)
{
    unsigned streams = (unsigned)image->engine->config->streams;

    if (image->state != IMAGE_PARTIAL || image->hands == HANDS_FINISH || image->map == NULL)
        return false;
    struct choice c = look_at_locked(image);
    if (image->no_range || image->unproven) { /* one stream from the start, whoever waits for what */
        bool wanted = image_wants_all_locked(image) || is_waited_for_locked(image);
        *ret = (struct span){0, image->meta.size};
        return c.busy_count == 0 && wanted && !chunkmap_full(image->map) && class == FETCH_CLASS_DEMAND;
    }
    switch (class) {
    case FETCH_CLASS_DEMAND:
        if (!choose_demand(&c, &image->outlook, ret))
            return false;
        if (choose_is_jump(&c, ret->first))
            image->engine->fetch->jumped = true;
        return true;
    case FETCH_CLASS_REPLAY:
        return replays_choose_locked(image, &c, ret);
    case FETCH_CLASS_AHEAD:
        return choose_ahead(&c, streams, ret);
    case FETCH_CLASS_WHOLE_IMAGE:
        return TAILQ_EMPTY(&image->wholes) && choose_whole(&c, rest_lanes(image), ret);
    case FETCH_CLASS_PREFETCH:
        return !TAILQ_EMPTY(&image->wholes) && choose_whole(&c, rest_lanes(image), ret);
    case FETCH_CLASSES:
        break;
    }
    return false;
}

static bool may_connect(const struct engine *e, enum fetch_class class)
{
    unsigned most = class == FETCH_CLASS_DEMAND ? CONNECTIONS_MAX : CONNECTIONS_MAX - CONNECTIONS_DEMAND;
    return e->fetch->connections < most && room_is_there(e->origin);
}

static void start_class(struct image *image, enum fetch_class class)
{
    struct span span;
    while (image->active && image->retry == NULL && may_connect(image->engine, class)) {
        image_lock(image);
        bool found = choose_locked(image, class, &span), whole = image_wants_all_locked(image);
        image_unlock(image);
        if (!found)
            return;
        enum room room = space_reserve(image, span.end - span.first);
        if (room == ROOM_NEVER) {
            through_start(image, "it is larger than the cache");
            if (image->through)
                continue; /* as of now: chosen afresh */
            return;
        }
        if (room == ROOM_BEING_MADE) {
            image->wants_room = true;
            return;
        }
        if (!version_may_go_on(image)) {
            fetch_changed(image, "what was read of it is not here any more, and the backend does not say which version it sends");
            return;
        }
        int r = range_start(image, class, span, range_ended);
        if (r < 0) {
            fetch_fail(image, -EIO, error_text(r));
            return;
        }
        if (whole)
            lanes_begin(image);
        struct fetch *f = image->engine->fetch;
        f->yield.window = yield_window(f->reach.bytes, f->reach.ns);
        if (f->jumped && yield_jumped(&f->yield, clock_monotonic()))
            cut_background(f);
        f->jumped = false;
    }
}

static bool is_idle(struct image *image)
{
    image_lock(image);
    bool wanted = !TAILQ_EMPTY(&image->waiters) || image_wants_all_locked(image) || replays_wants(image);
    bool idle = TAILQ_EMPTY(&image->claims) && !wanted && image->hands != HANDS_FINISH && image->hands != HANDS_BEGIN;
    image_unlock(image);
    return idle && image->retry == NULL && !image->wants_room;
}

/* Nobody works on its file, and nothing of it is paused. */
static bool may_start(struct image *image)
{
    image_lock(image);
    bool free = image->hands == HANDS_NONE && image->dead == 0;
    image_unlock(image);
    return free && image->retry == NULL && !image->wants_room;
}

void fetch_schedule(struct engine *e)
{
    struct image *image, *next;

    if (atomic_load(&e->stopping))
        return;
    for (int class = 0; class < FETCH_CLASSES; class++) {
        for (image = TAILQ_FIRST(&e->fetch->active); image != NULL && may_connect(e, (enum fetch_class)class); image = next) {
            image_ref(image);
            if (may_start(image))
                start_class(image, (enum fetch_class)class);
            next = image->active ? TAILQ_NEXT(image, active_link) : TAILQ_FIRST(&e->fetch->active);
            image_put(image);
        }
    }
    for (image = TAILQ_FIRST(&e->fetch->active); image != NULL; image = next) {
        next = TAILQ_NEXT(image, active_link);
        if (is_idle(image))
            fetch_leave(image);
    }
}

void fetch_on_well(void *engine)
{
    struct engine *e = engine;
    struct image *image, *next;

    if (atomic_load(&e->stopping))
        return;
    for (image = TAILQ_FIRST(&e->fetch->active); image != NULL; image = next) {
        next = TAILQ_NEXT(image, active_link);
        if (image->retry != NULL)
            range_retry_early(image);
    }
}

void fetch_room_made(void *engine, bool enough)
{
    struct engine *e = engine;
    struct image *image, *next;
    for (image = TAILQ_FIRST(&e->fetch->active); image != NULL; image = next) {
        next = TAILQ_NEXT(image, active_link);
        if (!image->wants_room)
            continue;
        image->wants_room = false;
        if (!enough) { /* the others may want less: they ask again */
            through_start(image, "no room can be made in the cache");
            enough = image->through;
        }
    }
    fetch_schedule(e);
}
