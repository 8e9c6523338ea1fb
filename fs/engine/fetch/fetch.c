/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetch thread: which bytes of which image are asked for next.
 *
 * An image that somebody waits for, reads ahead in, or wants whole is on the active list. After every change there (a visit asked for
 * by a reader, the end of a request, a timer) fetch_schedule() starts what may start, a class at a time over all active images: reads
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
#include "engine/fetch/begin.h"
#include "engine/fetch/choose.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/lanes.h"
#include "engine/fetch/private.h"
#include "engine/fetch/replays.h"
#include "engine/fetch/request.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/images/ahead.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/publish/publish.h"
#include "engine/queue.h"
#include "origin/room.h"
#include "store/prefault.h"

int fetch_new(struct fetch **ret)
{
    struct fetch *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -ENOMEM;
    TAILQ_INIT(&f->active);
    int r = prefault_new(&f->prefault);
    if (r < 0)
        free(f);
    else
        *ret = f;
    return r;
}

void fetch_free(struct fetch *f)
{
    if (f != NULL)
        prefault_free(f->prefault);
    free(f);
}

enum { CUT_REACHES = 4 };

/* ---- visits */

void fetch_visit(void *context)
{
    struct image *image = context;
    pthread_mutex_lock(&image->lock);
    image->attending = false;
    pthread_mutex_unlock(&image->lock);
    fetch_attend(image);
    fetch_schedule(image->engine);
    image_put(image);
}

/* ---- the active list */

static void enter_active(struct image *image)
{
    struct engine *e = image->engine;
    if (image->active)
        return;
    image_ref(image);
    image->active = true;
    TAILQ_INSERT_TAIL(&e->fetch->active, image, active_link);
}

void fetch_leave(struct image *image)
{
    struct engine *e = image->engine;
    if (!image->active)
        return;
    if (image->retry != NULL) {
        transfers_timer_cancel(e->transfers, image->retry);
        image->retry = NULL;
    }
    lanes_end(image);
    image->active = false;
    image->wants_room = false;
    TAILQ_REMOVE(&e->fetch->active, image, active_link);
    pthread_mutex_lock(&image->lock);
    image->fetch_began = 0;
    pthread_mutex_unlock(&image->lock);
    image_put(image);
}

void fetch_stop_ranges(struct image *image)
{
    while (range_first(image) != NULL)
        range_free(range_first(image));
}

/* ---- what an image needs */

void fetch_attend(struct image *image)
{
    struct engine *e = image->engine;
    struct waiters ready = TAILQ_HEAD_INITIALIZER(ready);
    bool finish = false, settle = false, wanted, ends_prefetch;
    int ended;

    if (atomic_load(&e->stopping))
        return;
    through_leave(image);
    range_serve(image);
    pthread_mutex_lock(&image->lock);
    if (image->through)
        image->whole = false;
    image_take_ready_locked(image, image->dead, &ready);
    enum image_state state = image->state;
    /* Whoever queued it is told, wherever it came to this: its place in the queue would be taken for ever. */
    ended = image->through ? -ENOSPC : state == IMAGE_RETIRED ? -ESTALE : 0;
    ends_prefetch = image->queue_row != 0 && !image->finishing && (ended < 0 || state == IMAGE_COMPLETE);
    bool dead = image->dead != 0, filling = state == IMAGE_PARTIAL && !dead && !image->through;
    if (filling && !image->digest_settled && !image->digest_asked)
        image->digest_asked = settle = true;
    if (image_may_finish_locked(image) && !image->stopping)
        image->finishing = finish = true;
    else if (filling && image->digest_settled && chunkmap_full(image->map) && !image->finishing)
        image->whole = false; /* there is nothing to fetch; a later read has it published */
    wanted = image->whole || !TAILQ_EMPTY(&image->waiters) || replays_wants(image);
    pthread_mutex_unlock(&image->lock);

    wake_all(&ready);
    range_hurry(image);
    if (ends_prefetch)
        prefetch_done(image, ended);
    if (image->through)
        through_trim(image);
    through_turn_back(image);
    if (settle)
        published_settle(image);
    if (finish) {
        verify_start(image);
    } else if (dead || state == IMAGE_COMPLETE || state == IMAGE_RETIRED) {
        fetch_leave(image);
    } else if (!image->beginning && !image->stopping) {
        if (state == IMAGE_PARTIAL || wanted)
            enter_active(image);
        if (state == IMAGE_KNOWN && wanted && !space_can_hold(e, image->meta.size))
            through_start(image, catalogue_is_memory(e->catalogue) ? "the cache directory cannot be used" : "it is larger than the cache");
        else if (state == IMAGE_KNOWN && wanted)
            begin_file(image);
    }
}

/* ---- choosing */

static struct choice look_at_locked(const struct image *image)
{
    struct choice c = {.map = image->map, .cursors = &image->cursors, .waiters = &image->waiters, .parked = image->parked,
                       .whole = image->whole, .through = image->through, .told = replays_wants(image), .reach = image->reach,
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

    if (image->state != IMAGE_PARTIAL || image->finishing || image->map == NULL)
        return false;
    struct choice c = look_at_locked(image);
    if (image->no_range || image->unproven) { /* one stream from the start, whoever waits for what */
        bool wanted = image->whole || is_waited_for_locked(image);
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
        return image->queue_row == 0 && choose_whole(&c, rest_lanes(image), ret);
    case FETCH_CLASS_PREFETCH:
        return image->queue_row != 0 && choose_whole(&c, rest_lanes(image), ret);
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
        pthread_mutex_lock(&image->lock);
        bool found = choose_locked(image, class, &span), whole = image->whole;
        pthread_mutex_unlock(&image->lock);
        if (!found)
            return;
        if (!space_reserve(image, span.end - span.first)) {
            if (image->through)
                continue; /* as of now: chosen afresh */
            return;
        }
        if (!version_may_go_on(image)) {
            fetch_changed(image, "what was read of it is not here any more, and the backend does not say which version it sends");
            return;
        }
        int r = range_start(image, class, span);
        if (r < 0) {
            fetch_fail(image, -EIO, error_text(r));
            return;
        }
        if (whole)
            lanes_begin(image);
        if (image->engine->fetch->jumped && yield_jumped(&image->engine->fetch->yield, clock_monotonic()))
            cut_background(image->engine->fetch);
        image->engine->fetch->jumped = false;
    }
}

static bool is_idle(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    bool wanted = TAILQ_EMPTY(&image->claims) && (!TAILQ_EMPTY(&image->waiters) || image->whole || replays_wants(image));
    bool idle = TAILQ_EMPTY(&image->claims) && !wanted && !image->finishing;
    pthread_mutex_unlock(&image->lock);
    return idle && !image->beginning && image->retry == NULL && !image->wants_room;
}

void fetch_schedule(struct engine *e)
{
    struct image *image, *next;

    if (atomic_load(&e->stopping))
        return;
    for (int class = 0; class < FETCH_CLASSES; class++) {
        for (image = TAILQ_FIRST(&e->fetch->active); image != NULL && may_connect(e, (enum fetch_class)class); image = next) {
            image_ref(image);
            if (image->retry == NULL && !image->beginning && !image->stopping && !image->wants_room)
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
