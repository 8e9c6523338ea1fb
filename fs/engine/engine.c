/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's start and end, its threads, and what it tells about itself. */
#include "config-auto.h"

#include "engine/engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/private.h"
#include "store/prefault.h"

enum { TICK_MS = 1000 };

/* ---- telling the kernel */

void engine_tell_name(struct engine *e, const char *name)
{
    teller_name(e->teller, name);
}

/* ---- threads */

bool engine_post(struct engine *e, void (*fn)(void *context), void *context)
{
    int r = transfers_post(e->transfers, fn, context);
    if (r < 0 && r != -ECANCELED) {
        log_errno(r, "the fetch thread cannot be told what to do; ending, so that a new process can go on");
        abort();
    }
    return r == 0;
}

static void *run_fetch(void *context)
{
    struct engine *e = context;
    int r = transfers_run(e->transfers);
    if (r < 0) {
        log_errno(r, "the loop of transfers ended; ending, so that a new process can go on");
        abort();
    }
    return NULL;
}

static void sync_tick(void *context)
{
    checkpoint_all(context);
}

/* Descriptors of a folder that was unmounted lazily work on, for nobody. Another process goes on, without that disk. */
static void look_for_store(struct engine *e)
{
    int r = catalogue_is_memory(e->catalogue) || catalogue_trouble(e->catalogue) != 0 ? 0 : store_is_there(e->store);
    if (r < 0)
        catalogue_give_up(e->catalogue, r);
}

static void rows_tick(void *context)
{
    look_for_store(context);
    prefetch_tick(context);
    ages_tick(context);
    space_expire(context);
    gone_tick(context);
}

static int start_threads(struct engine *e)
{
    int r = tasks_new("rows", &e->rows);
    if (r == 0)
        r = tasks_new("hash", &e->hash);
    if (r == 0)
        r = tasks_new("sync", &e->sync);
    if (r == 0)
        r = tasks_new("lister", &e->lister);
    if (r == 0)
        r = tasks_new("digests", &e->digests);
    if (r == 0)
        r = teller_new(&e->kernel, &e->teller);
    if (r == 0)
        r = prefault_new(&e->prefault);
    if (r == 0)
        r = -pthread_create(&e->fetch_thread, NULL, run_fetch, e);
    if (r < 0)
        return r;
    pthread_setname_np(e->fetch_thread, "fetch");
    e->fetching = true;
    tasks_every(e->sync, TICK_MS, sync_tick, e);
    tasks_every(e->rows, TICK_MS, rows_tick, e);
    return adopt_start(e);
}

static void engine_free(struct engine *e)
{
    if (e->transfers != NULL)
        transfers_free(e->transfers);
    if (e->backend != NULL)
        e->ops->close(e->backend);
    touches_free(e->touches);
    pthread_cond_destroy(&e->claim_ended);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

int engine_start(const struct engine_parts *parts, struct engine **ret)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        parts->ops->close(parts->backend);
        return -ENOMEM;
    }
    pthread_mutex_init(&e->lock, NULL);
    e->config = parts->config;
    e->ops = parts->ops;
    e->backend = parts->backend;
    e->catalogue = parts->catalogue;
    e->store = parts->store;
    e->ledger = parts->ledger;
    e->arrivals = parts->arrivals;
    e->kernel = *parts->notify;
    e->tail_hidden = image_tail_hidden;
    TAILQ_INIT(&e->active);
    TAILQ_INIT(&e->turns.users);
    TAILQ_INIT(&e->auth.waiters);
    TAILQ_INIT(&e->list_waiters);
    TAILQ_INIT(&e->claims);
    pthread_cond_init(&e->claim_ended, NULL);
    e->listed_at = catalogue_listing_time(e->catalogue);
    int r = 0;
    if ((e->touches = touches_new()) == NULL)
        r = -ENOMEM;
    if (r == 0)
        r = transfers_new(e->config, &e->transfers);
    e->on_well = fetch_on_well;
    if (r == 0) {
        image_take_over(e);
        ages_start(e);
        r = start_threads(e);
    }
    if (r < 0) {
        engine_stop(e);
        return r;
    }
    *ret = e;
    return 0;
}

/* With no thread left: what is still in memory, its waiters woken. */
static void drop_images(struct engine *e)
{
    struct image *image, *next;
    HASH_ITER(hh, e->images, image, next) {
        struct waiters all = TAILQ_HEAD_INITIALIZER(all);
        image_take_ready_locked(image, -ECANCELED, &all);
        fetch_stop_ranges(image);
        wake_all(&all);
        image_discard(image);
    }
}

void engine_stop(struct engine *e)
{
    atomic_store(&e->stopping, true);
    if (e->transfers != NULL)
        transfers_stop(e->transfers);
    if (e->fetching)
        pthread_join(e->fetch_thread, NULL);
    prefault_free(e->prefault);
    lookup_stop(e);
    tasks_finish(e->adopt);
    tasks_finish(e->lister);
    tasks_finish(e->digests);
    tasks_finish(e->hash);
    tasks_finish(e->sync);
    if (e->touches != NULL)
        checkpoint_last(e);
    tasks_finish(e->rows);
    probe_free_all(e);
    free(e->auth.body);
    drop_images(e);
    e->kernel.stop(e->kernel.context);
    teller_finish(e->teller);
    prefetch_free_all(e);
    engine_free(e);
}
