/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fetch thread: which bytes of which image are asked for next.
 *
 * An image that somebody waits for, reads ahead in, or wants whole is on the active list. After every change there (a visit asked for
 * by a reader, the end of a request, a timer) fetch_schedule() starts what may start, a class at a time over all active images: reads
 * someone waits for, read-ahead, whole images, prefetch. What has nothing left to do leaves the list.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/fetch/begin.h"
#include "engine/private.h"

/* ---- visits */

static void visit(void *context)
{
    struct image *image = context;
    pthread_mutex_lock(&image->lock);
    image->attending = false;
    pthread_mutex_unlock(&image->lock);
    fetch_attend(image);
    fetch_schedule(image->engine);
    image_put(image);
}

static void post_visit(struct image *image)
{
    image_ref(image);
    if (!engine_post(image->engine, visit, image))
        atomic_fetch_sub(&image->refs, 1); /* the caller's own is still there */
}

void fetch_visit_locked(struct image *image)
{
    if (!image->attending) {
        image->attending = true;
        post_visit(image);
    }
}

void fetch_visit(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    fetch_visit_locked(image);
    pthread_mutex_unlock(&image->lock);
}

/* ---- the active list */

static void enter_active(struct image *image)
{
    struct engine *e = image->engine;
    if (image->active)
        return;
    image_ref(image);
    image->active = true;
    TAILQ_INSERT_TAIL(&e->active, image, active_link);
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
    TAILQ_REMOVE(&e->active, image, active_link);
    pthread_mutex_lock(&image->lock);
    image->fetch_began = 0;
    pthread_mutex_unlock(&image->lock);
    image_put(image);
}

void fetch_stop_ranges(struct image *image)
{
    while (!TAILQ_EMPTY(&image->ranges))
        range_free(TAILQ_FIRST(&image->ranges));
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
    wanted = image->whole || !TAILQ_EMPTY(&image->waiters);
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

enum { SEGMENT_LEAST = 2 << 20 }; /* bytes; for less, a request is not worth it */

struct choice {
    struct span busy[DEMAND_PER_IMAGE + 32 + 1];
    size_t busy_count;
    unsigned demand, background; /* ranges under way of each kind; a long one that somebody waits for is of both */
    uint64_t claimed;            /* bytes still to come of them */
    uint64_t rest;               /* bytes that are neither here nor claimed */
    uint64_t segment;            /* bytes of one request for the whole */
};

static void look_at_ranges_locked(const struct image *image, struct choice *c)
{
    const struct range *r;
    TAILQ_FOREACH(r, &image->ranges, link) {
        assert(c->busy_count < sizeof(c->busy) / sizeof(c->busy[0]));
        c->busy[c->busy_count++] = (struct span){r->start, r->end};
        c->claimed += r->end - r->pos;
        if (r->class == FETCH_CLASS_DEMAND)
            c->demand++;
        if (r->class != FETCH_CLASS_DEMAND || r->end - r->pos >= SEGMENT_LEAST)
            c->background++;
    }
    uint64_t settled = chunkmap_present(image->map) + c->claimed;
    c->rest = settled < image->meta.size ? image->meta.size - settled : 0;
    c->segment = plan_segment(image->rate, image->wait);
    /* What one connection brings in a second is not worth two; but many a server is quick at first, and what it was is no promise. */
    uint64_t proven = c->rest < 4 * image->fetched ? c->rest : 4 * image->fetched;
    if (c->background == 0 && c->rest <= image->rate && proven > c->segment)
        c->segment = proven;
}

static bool gap(const struct image *image, const struct choice *c, uint64_t from, uint64_t to, uint64_t max, struct span *ret)
{
    return plan_gap(image->map, c->busy, c->busy_count, from, to, max, ret);
}

/* The cursor that a read at OFFSET belongs to. */
static const struct cursor *cursor_at(const struct image *image, uint64_t offset)
{
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &image->cursors.place[i];
        if (p->used != 0 && p->window > 0 && offset >= p->start && offset < p->next)
            return p;
    }
    return NULL;
}

/* How far ahead of reader P to fetch: little when nothing is kept. */
static uint64_t window(const struct image *image, const struct cursor *p)
{
    return image->through && p->window > THROUGH_AHEAD ? THROUGH_AHEAD : p->window;
}

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x100000001b3);
    *hash ^= *hash >> 29;
}

/*
 * Whether somebody waits for bytes that nobody asked for depends on this alone: who waits, what is here, what is asked for. Thousands may wait, and
 * it is asked with each request of any image that ends. 0: not to be relied on, as what goes straight through leaves again.
 */
static uint64_t outlook_locked(const struct image *image, const struct choice *c)
{
    uint64_t hash = image->parked + 1;
    mix(&hash, (uintptr_t)image->map);
    mix(&hash, chunkmap_present(image->map));
    for (size_t i = 0; i < c->busy_count; i++) {
        mix(&hash, c->busy[i].first);
        mix(&hash, c->busy[i].end);
    }
    return image->through ? 0 : hash;
}

/* A read that waits: its missing bytes, and with a sequential reader what it will want next, in one request. */
static bool choose_demand_locked(struct image *image, const struct choice *c, struct span *ret)
{
    if (c->demand >= DEMAND_PER_IMAGE)
        return false;
    const struct waiter *w;
    uint64_t outlook = outlook_locked(image, c);
    if (outlook != 0 && outlook == image->outlook)
        return false;
    TAILQ_FOREACH(w, &image->waiters, link) {
        uint64_t end = w->offset + w->length, to = end;
        if (!gap(image, c, w->offset, end, UINT64_MAX / 2, ret))
            continue;
        const struct cursor *p = cursor_at(image, w->offset);
        if (p != NULL && p->next + window(image, p) > to)
            to = p->next + window(image, p);
        if (p != NULL && image->whole && ret->first + c->segment > to)
            to = ret->first + c->segment;
        return gap(image, c, ret->first, to, to - ret->first, ret);
    }
    image->outlook = outlook;
    return false;
}

/* A sequential reader's window, once half of it is used up. */
static bool choose_ahead_locked(const struct image *image, const struct choice *c, unsigned streams, struct span *ret)
{
    if (image->whole || c->background >= streams)
        return false;
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &image->cursors.place[i];
        uint64_t ahead = window(image, p);
        if (p->used != 0 && ahead > 0 && gap(image, c, p->next, p->next + ahead, ahead, ret) && ret->first <= p->next + ahead / 2)
            return true;
    }
    return false;
}

/* The nearer the end, the shorter, so that all of them end together and the digest has little left to follow then. */
static uint64_t whole_segment(const struct choice *c, unsigned lanes)
{
    uint64_t share = c->rest / lanes;
    uint64_t least = c->segment / 8 > SEGMENT_LEAST ? c->segment / 8 : SEGMENT_LEAST;
    return share < least ? least : share > c->segment ? c->segment : share;
}

/* The whole image: from the place of the reader who moved last, then the holes. */
static bool choose_whole_locked(const struct image *image, const struct choice *c, struct span *ret)
{
    unsigned lanes = lanes_of(image);
    if (!image->whole || c->background >= lanes)
        return false;
    const struct cursor *p = cursors_latest(&image->cursors);
    uint64_t place = p ? p->next : 0, segment = whole_segment(c, lanes);
    if (!gap(image, c, place, image->meta.size, segment, ret) && !gap(image, c, 0, place, segment, ret))
        return false;
    if (ret->end < image->meta.size && ret->end - ret->first > 2 * WRITER_FOLIO) /* the next one starts on a folio */
        ret->end -= ret->end % WRITER_FOLIO;
    return true;
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

static bool choose_locked(struct image *image, enum fetch_class class, struct span *ret)
{
    struct choice c = {.busy_count = 0};
    unsigned streams = (unsigned)image->engine->config->streams;

    if (image->state != IMAGE_PARTIAL || image->finishing || image->map == NULL)
        return false;
    look_at_ranges_locked(image, &c);
    if (image->no_range || image->unproven) { /* one stream from the start, whoever waits for what */
        bool wanted = image->whole || is_waited_for_locked(image);
        *ret = (struct span){0, image->meta.size};
        return c.busy_count == 0 && wanted && !chunkmap_full(image->map) && class == FETCH_CLASS_DEMAND;
    }
    switch (class) {
    case FETCH_CLASS_DEMAND:
        return choose_demand_locked(image, &c, ret);
    case FETCH_CLASS_AHEAD:
        return choose_ahead_locked(image, &c, streams, ret);
    case FETCH_CLASS_WHOLE_IMAGE:
        return image->queue_row == 0 && choose_whole_locked(image, &c, ret);
    case FETCH_CLASS_PREFETCH:
        return image->queue_row != 0 && choose_whole_locked(image, &c, ret);
    case FETCH_CLASSES:
        break;
    }
    return false;
}

static bool may_connect(const struct engine *e, enum fetch_class class)
{
    unsigned most = class == FETCH_CLASS_DEMAND ? CONNECTIONS_MAX : CONNECTIONS_MAX - CONNECTIONS_DEMAND;
    return e->connections < most;
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
    }
}

static bool is_idle(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    bool wanted = TAILQ_EMPTY(&image->ranges) && (!TAILQ_EMPTY(&image->waiters) || image->whole);
    bool idle = TAILQ_EMPTY(&image->ranges) && !wanted && !image->finishing;
    pthread_mutex_unlock(&image->lock);
    return idle && !image->beginning && image->retry == NULL && !image->wants_room;
}

void fetch_schedule(struct engine *e)
{
    struct image *image, *next;

    if (atomic_load(&e->stopping))
        return;
    for (int class = 0; class < FETCH_CLASSES; class++) {
        for (image = TAILQ_FIRST(&e->active); image != NULL && may_connect(e, (enum fetch_class)class); image = next) {
            image_ref(image);
            if (image->retry == NULL && !image->beginning && !image->stopping && !image->wants_room)
                start_class(image, (enum fetch_class)class);
            next = image->active ? TAILQ_NEXT(image, active_link) : TAILQ_FIRST(&e->active);
            image_put(image);
        }
    }
    for (image = TAILQ_FIRST(&e->active); image != NULL; image = next) {
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
    for (image = TAILQ_FIRST(&e->active); image != NULL; image = next) {
        next = TAILQ_NEXT(image, active_link);
        if (image->retry != NULL)
            range_retry_early(image);
    }
    lookup_retry_early(e);
}
