/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second request, see hedge.h.
 *
 *     watched ──nothing came for so long, and somebody waits──> two are under way ──the second brings bytes──> it takes the first one's place
 *        │ <──something came──┘                                    └──the first does, or the second fails──> watched
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/fetch/hedge.h"
#include "engine/fetch/private.h"
#include "engine/images/image.h"
#include "origin/login.h"
#include "origin/room.h"

struct hedge {
    struct range *range;
    const struct hedge_calls *calls;
    struct transfer_timer *timer;
    uint64_t seen;             /* where the range was when it was looked at last, with what is gathered of it */
    struct transfer *transfer; /* the second one, until it wins; NULL */
    uint64_t from;             /* where that begins: what is gathered comes again */
    unsigned endpoint, credential, extras;
    int64_t asked_at;          /* monotonic */
    bool won;                  /* its transfer is the range's now */
};

static void look(void *context);

static void set_timer(struct hedge *h)
{
    struct engine *e = h->range->image->engine;
    int64_t after = late_after(&e->fetch->late);
    if (h->timer == NULL && after > 0 && transfers_timer(e->transfers, (uint64_t)(after / NS_PER_MS), look, h, &h->timer) < 0)
        log_debug("%s: not watched: out of memory", h->range->image->name);
}

static uint64_t arrived(const struct range *range)
{
    return range->claim.pos + range->writer.gathered;
}

/* ---- the second request */

static void forget(struct hedge *h)
{
    struct engine *e = h->range->image->engine;
    h->transfer = NULL;
    e->fetch->connections--;
    room_left(e->origin, false);
}

static void end_second(struct hedge *h)
{
    if (h->transfer == NULL)
        return;
    transfer_cancel(h->transfer);
    forget(h);
}

/* Is HEAD the answer that was asked for? What else it may say is left to the first one. */
static bool is_good(const struct hedge *h, const struct transfer_head *head)
{
    const struct range *range = h->range;
    const struct image_meta *meta = &range->image->meta;
    uint64_t offset = 0;
    enum version_verdict verdict = backend_version(head, meta, h->endpoint);
    bool same = verdict == VERSION_SAME || (verdict == VERSION_UNTOLD && range->image->engine->ops->ids_are_versions);
    return same && head->status == 206 && arrived(range) == h->seen && range->claim.pos == h->from && range->broken == 0 &&
           backend_check_bytes(head, meta, h->from, &offset) == 0;
}

static int on_head(void *context, const struct transfer_head *head)
{
    struct hedge *h = context;
    struct range *range = h->range;
    struct engine *e = range->image->engine;
    if (!is_good(h, head))
        return -ECANCELED;
    log_debug("%s: asked a second time from %llu on, and answered first", range->image->name, (unsigned long long)h->from);
    if (range->first_at < range->asked_at)
        late_spare(&e->fetch->late);
    transfer_cancel(range->transfer);
    e->fetch->connections--;
    room_left(e->origin, false);
    h->won = true;
    range->writer.gathered = 0;
    range->transfer = h->transfer;
    h->transfer = NULL;
    range->endpoint = h->endpoint;
    range->credential = h->credential;
    range->extras = h->extras;
    range->asked_at = h->asked_at;
    return h->calls->ops->on_head(range, head);
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct hedge *h = context;
    return h->won ? h->calls->ops->on_data(h->range, head, data, length) : -ECANCELED;
}

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct hedge *h = context;
    struct range *range = h->range;
    if (h->won) /* the end of the range's own */
        h->calls->ops->on_done(range, error, result);
    else
        forget(h);
}

static const struct transfer_ops ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};

static void ask(struct hedge *h)
{
    struct range *range = h->range;
    struct image *image = range->image;
    struct engine *e = image->engine;
    struct transfer_request request = {0};
    unsigned tried = 1u << range->endpoint;

    h->from = range->claim.pos;
    h->endpoint = origin_choose(e->origin, &tried);
    h->credential = auth_credential(e->origin);
    h->asked_at = clock_monotonic();
    int r = e->ops->bytes(e->backend, h->endpoint, image->name, &image->meta, h->from, range->claim.end - 1, &request);
    h->extras = request.extras;
    request.fresh = true;
    if (r == 0 && request.url != NULL && transfer_start(e->transfers, &request, &ops, h, &h->transfer) == 0) {
        e->fetch->connections++;
        room_taken(e->origin);
    }
    transfer_request_clear(&request);
}

/* ---- watching */

/* A disk, or a server that takes few requests at once, would not do better by being asked twice. */
static bool may_ask(const struct hedge *h)
{
    const struct range *range = h->range;
    struct engine *e = range->image->engine;
    return !h->won && range->broken == 0 && e->fetch->connections < CONNECTIONS_MAX &&
           !room_is_short(e->origin) && h->calls->awaited(range) &&
           (e->ops->auth_needed == NULL || e->ops->auth_needed(e->backend) != AUTH_NOW);
}

/* The second one may get stuck as well: then another takes its place. */
static bool is_stuck(const struct hedge *h, int64_t now)
{
    return h->transfer == NULL || now - h->asked_at >= late_after(&h->range->image->engine->fetch->late);
}

static void look(void *context)
{
    struct hedge *h = context;
    struct range *range = h->range;
    int64_t now = clock_monotonic();
    h->timer = NULL;
    bool silent = arrived(range) == h->seen && is_stuck(h, now);
    h->seen = arrived(range);
    if (silent && may_ask(h) && late_take(&range->image->engine->fetch->late, now)) {
        end_second(h);
        ask(h);
    }
    set_timer(h);
}

void hedge_watch(struct range *range, const struct hedge_calls *calls)
{
    struct image *image = range->image;
    if (image->no_range || image->unproven || range->capped || range->hedge != NULL || late_after(&image->engine->fetch->late) == 0)
        return;
    struct hedge *h = calloc(1, sizeof(*h));
    if (h == NULL)
        return;
    h->range = range;
    h->calls = calls;
    h->seen = arrived(range);
    range->hedge = h;
    set_timer(h);
}

void hedge_drop(struct range *range)
{
    struct hedge *h = range->hedge;
    if (h == NULL)
        return;
    if (h->timer != NULL)
        transfers_timer_cancel(range->image->engine->transfers, h->timer);
    end_second(h);
    range->hedge = NULL;
    free(h);
}
