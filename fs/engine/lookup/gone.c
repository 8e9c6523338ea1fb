/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that the backend does not have any more and nobody here uses leave the catalogue: those that two listings in a row did not name,
 * and when far more are known than a listing may have, as a hostile backend can bring about, those that the newest did not. A row whose image
 * is open, in memory, pinned or queued stays.
 *
 * A page at a time on the rows thread, which does other things in between.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/images/images.h"
#include "engine/lookup/gone.h"

enum { PAGE = 256, KNOWN_FACTOR = 3, LOOK_S = 10 };

struct gone {
    atomic_bool sweeping;
    int64_t look_at; /* monotonic; the rows thread's: when it is looked at next how many images are known */
};

int gone_new(struct gone **ret)
{
    struct gone *g = calloc(1, sizeof(*g));
    if (g == NULL)
        return -ENOMEM;
    *ret = g;
    return 0;
}

void gone_free(struct gone *g)
{
    free(g);
}

struct sweep {
    struct engine *engine;
    bool any; /* too many are known */
    int64_t after;
    uint64_t forgotten;
    struct gone_row rows[PAGE];
};

static bool is_used(struct engine *e, int64_t row)
{
    return image_is_loaded(e, row) || ledger_handles(e->ledger, row) > 0;
}

static bool are_too_many(struct engine *e)
{
    struct catalogue_totals t;
    return catalogue_totals(e->catalogue, &t) == 0 && t.known > KNOWN_FACTOR * e->config->list_max;
}

/* How many rows the page had. */
static int sweep_page(struct sweep *s)
{
    struct engine *e = s->engine;
    int n = catalogue_gone_page(e->catalogue, s->any, s->after, clock_now(), s->rows, PAGE), kept = 0;
    if (n <= 0)
        return n;
    s->after = s->rows[n - 1].row;
    for (int i = 0; i < n; i++)
        if (!is_used(e, s->rows[i].row))
            s->rows[kept++] = s->rows[i];
    int r = catalogue_forget_gone(e->catalogue, s->rows, (size_t)kept);
    atomic_fetch_add(&e->retirements, 1); /* who loaded one of them just now looks again */
    if (r > 0)
        s->forgotten += (uint64_t)r;
    return r < 0 ? r : n;
}

static void sweep(void *context)
{
    struct sweep *s = context;
    struct engine *e = s->engine;
    int n = atomic_load(&e->stopping) ? 0 : sweep_page(s);
    if (n == PAGE && (!s->any || are_too_many(e))) {
        tasks_add(e->rows, sweep, s);
        return;
    }
    if (n < 0)
        log_errno(n, "images that the backend does not have any more could not be forgotten");
    if (s->forgotten > 0)
        log_info("forgot %llu images that the backend does not list any more", (unsigned long long)s->forgotten);
    free(s);
    atomic_store(&e->gone->sweeping, false);
}

static void start(struct engine *e, bool any)
{
    if (atomic_exchange(&e->gone->sweeping, true))
        return;
    struct sweep *s = calloc(1, sizeof(*s));
    if (s == NULL) {
        atomic_store(&e->gone->sweeping, false);
        return; /* the next listing does it */
    }
    s->engine = e;
    s->any = any;
    tasks_add(e->rows, sweep, s);
}

void gone_after_listing(struct engine *e)
{
    start(e, false);
}

void gone_tick(struct engine *e)
{
    if (clock_monotonic() < e->gone->look_at)
        return;
    e->gone->look_at = clock_monotonic() + LOOK_S * NS_PER_S;
    if (are_too_many(e)) {
        log_warning("more than %d × list_max images are known: those that the backend did not list last are forgotten", KNOWN_FACTOR);
        start(e, true);
    }
}
