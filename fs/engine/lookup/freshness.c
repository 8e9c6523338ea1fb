/* SPDX-License-Identifier: Apache-2.0 */
/* For the view: must the backend be asked before a name is shown, opened or queued, how long is it waited for, and what holds when it was. */
#include "config-auto.h"

#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/lookup/listing.h"
#include "engine/lookup/lookup.h"
#include "engine/lookup/private.h"
#include "engine/lookup/probes.h"

/* Must the backend be asked about ROW before it is shown? Bytes that are here are served whatever the backend says. */
static bool is_stale(struct engine *e, const struct image_row *row)
{
    if (row->state != IMAGE_KNOWN || ledger_handles(e->ledger, row->row) > 0)
        return false;
    if (row->meta.size == IMAGE_SIZE_UNKNOWN)
        return true;
    int64_t ttl = (int64_t)e->config->list_ttl * NS_PER_S;
    int64_t listed;
    listing_status(e, &listed);
    if (row->described != 0 && clock_recent(row->described, ttl))
        return false;
    return !clock_recent(listed, ttl) || !e->ops->describe_has_bytes || !catalogue_is_listed(e->catalogue, row->name);
}

int lookup_name(struct engine *e, const char *name, struct waiter *w, struct image_row *ret)
{
    int r = catalogue_find(e->catalogue, name, ret);
    if (r == -ENOENT || (r == 0 && is_stale(e, ret)))
        return lookup_park(e, name, PROBE_BYTES, r == 0 && ret->meta.size != IMAGE_SIZE_UNKNOWN, w);
    return r;
}

int lookup_result(struct engine *e, const char *name, int status, struct image_row *ret)
{
    if (status == -EINTR || status == -ECANCELED)
        return status;
    int r = catalogue_find(e->catalogue, name, ret);
    if (r == 0 && ret->meta.size != IMAGE_SIZE_UNKNOWN)
        return 0; /* found now, or known from before while the backend cannot be asked */
    return status < 0 ? status : r < 0 ? r : -EIO;
}

/* ---- not longer than a while */

/* On the rows thread: who has waited long enough. */
static void let_go(void *context)
{
    struct engine *e = context;
    struct waiters out = TAILQ_HEAD_INITIALIZER(out);
    struct lookup *l, *next_lookup;
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&e->lookups->lock);
    HASH_ITER(hh, e->lookups->by_name, l, next_lookup) {
        struct waiter *w, *next;
        for (w = TAILQ_FIRST(&l->waiters); w != NULL; w = next) {
            next = TAILQ_NEXT(w, link);
            if (w->until == 0 || w->until > now)
                continue;
            TAILQ_REMOVE(&l->waiters, w, link);
            w->status = -ETIMEDOUT;
            TAILQ_INSERT_TAIL(&out, w, link);
        }
    }
    pthread_mutex_unlock(&e->lookups->lock);
    if (!TAILQ_EMPTY(&out))
        atomic_store(&e->lookups->slow, true);
    wake_all(&out);
}

static void on_time(void *context)
{
    struct engine *e = context;
    tasks_add(e->rows, let_go, e);
}

/* On the fetch thread. Without memory for the timer the look-up's own bounds hold. */
static void set_timer(void *context)
{
    struct engine *e = context;
    struct transfer_timer *timer;
    int r = transfers_timer(e->transfers, LOOKUP_HURRY_MS, on_time, e, &timer);
    if (r < 0)
        log_errno(r, "who waits for the backend with a folder locked waits for its answer");
}

int lookup_in_a_hurry(struct engine *e, const char *name, struct waiter *w, struct image_row *ret)
{
    w->until = clock_monotonic() + LOOKUP_HURRY_MS * NS_PER_MS;
    bool slow = atomic_load(&e->lookups->slow);
    int r = slow ? catalogue_find(e->catalogue, name, ret) : lookup_name(e, name, w, ret);
    if (slow && (r == -ENOENT || (r == 0 && is_stale(e, ret))))
        return -ETIMEDOUT;
    if (r == ENGINE_PARKED)
        transfers_tell(e->transfers, set_timer, e);
    return r;
}

/* ---- cached images */

int lookup_revalidate(struct engine *e, int64_t row, struct waiter *w)
{
    struct image_row r;
    int error = catalogue_get(e->catalogue, row, &r);
    if (error < 0)
        return error == -ENOENT ? -ESTALE : error;
    if (r.state != IMAGE_COMPLETE || clock_recent(r.described, (int64_t)e->config->revalidate * NS_PER_S))
        return 0;
    if (origin_all_down(e->origin)) /* it was asked in vain a moment ago */
        return 0;
    return lookup_park(e, r.name, 1, true, w);
}

int lookup_revalidate_result(struct engine *e, int64_t row, int status)
{
    struct image_row r;
    if (status == -EINTR || status == -ECANCELED)
        return status;
    int error = catalogue_get(e->catalogue, row, &r);
    return error == -ENOENT || (error == 0 && r.state == IMAGE_RETIRED) ? -ESTALE : error;
}
