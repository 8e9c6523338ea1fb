/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's start and end, its threads, and what it tells about itself. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/adopt.h"
#include "engine/agree.h"
#include "engine/attend.h"
#include "engine/bootset/boots.h"
#include "engine/engine.h"
#include "engine/evict/ages.h"
#include "engine/evict/claim.h"
#include "engine/evict/remove.h"
#include "engine/evict/space.h"
#include "engine/evict/victims.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/lanes.h"
#include "engine/handed.h"
#include "engine/images/images.h"
#include "engine/images/retired.h"
#include "engine/lookup/digests.h"
#include "engine/lookup/gone.h"
#include "engine/lookup/listing.h"
#include "engine/lookup/lookup.h"
#include "engine/lookup/probes.h"
#include "engine/publish/publish.h"
#include "engine/queue.h"

enum { TICK_MS = 1000 };

/* ---- threads */

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

/* Ahead of the first who asks; the rows of a listing that comes later are fewer. */
static void hash_names(void *context)
{
    struct engine *e = context;
    int r = catalogue_hash_names(e->catalogue, &e->stopping);
    if (r < 0)
        log_errno(r, "the names of images cannot be indexed for nova/: they are when somebody asks for one");
}

static void rows_tick(void *context)
{
    look_for_store(context);
    agree_tick(context);
    prefetch_tick(context);
    ages_tick(context);
    victims_expire(context);
    gone_tick(context);
    boots_tick(((struct engine *)context)->boots);
}

static int start_threads(struct engine *e, const struct engine_parts *parts)
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
        r = teller_new(parts->notify, &e->teller);
    if (r == 0)
        r = -pthread_create(&e->fetch_thread, NULL, run_fetch, e);
    if (r < 0)
        return r;
    pthread_setname_np(e->fetch_thread, "fetch");
    e->fetching = true;
    tasks_every(e->sync, TICK_MS, sync_tick, e);
    tasks_every(e->rows, TICK_MS, rows_tick, e);
    if (config_views(e->config) & VIEW_NOVA)
        tasks_add(e->lister, hash_names, e);
    return adopt_start(e);
}

static void engine_free(struct engine *e)
{
    if (e->transfers != NULL)
        transfers_free(e->transfers);
    origin_free(e->origin);
    if (e->backend != NULL)
        e->ops->close(e->backend);
    handed_free(e->handed);
    adopted_free(e->adopted);
    queue_free(e->queue);
    fetch_free(e->fetch);
    gone_free(e->gone);
    published_free(e->published);
    listings_free(e->listings);
    lookups_free(e->lookups);
    probes_free(e->probes);
    ages_free(e->ages);
    victims_free(e->victims);
    space_free(e->space);
    names_free(e->names);
    images_free(e->images);
    touches_free(e->touches);
    boots_free(e->boots);
    free(e);
}

static void on_well(void *context)
{
    fetch_on_well(context);
    if (!atomic_load(&((struct engine *)context)->stopping))
        lookup_retry_early(context);
}

static void on_room(void *context)
{
    fetch_schedule(context);
}

static void reap(void *context)
{
    retired_reap_unused(context);
}

/* A retired image was given back for good, on whatever thread: its row and its file go on one that may wait for the disk. */
static void unused(void *context)
{
    struct engine *e = context;
    if (e->rows != NULL)
        tasks_add(e->rows, reap, e);
}

/* From the ground up: each has those below it. */
static int make_rooms(struct engine *e)
{
    struct origin_parts origin = {.ops = e->ops, .backend = e->backend, .ledger = e->ledger, .on_well = on_well, .on_room = on_room, .context = e};
    int r = (e->touches = touches_new()) == NULL ? -ENOMEM : 0;
    if (r == 0 && (e->boots = boots_new(e->store, e->ledger, e->config->bootset_max, e->config->bootset_quiet)) == NULL)
        r = -ENOMEM;
    if (r == 0)
        r = transfers_new(e->config, &e->transfers);
    origin.transfers = e->transfers;
    if (r == 0)
        r = origin_new(&origin, &e->origin);
    if (r == 0)
        r = images_new(unused, &e->images);
    if (r == 0)
        r = names_new(&e->names);
    if (r == 0)
        r = space_new(fetch_room_made, &e->space);
    if (r == 0)
        r = victims_new(&e->victims);
    if (r == 0)
        r = ages_new(&e->ages);
    if (r == 0)
        r = probes_new(&e->probes);
    if (r == 0)
        r = lookups_new(&e->lookups);
    if (r == 0)
        r = listings_new(catalogue_listing_time(e->catalogue), &e->listings);
    if (r == 0)
        r = published_new(&e->published);
    if (r == 0)
        r = gone_new(&e->gone);
    if (r == 0)
        r = fetch_new(&e->fetch);
    if (r == 0)
        r = queue_new(&e->queue);
    if (r == 0)
        r = adopted_new(&e->adopted);
    return r == 0 ? handed_new(&e->handed) : r;
}

int engine_start(const struct engine_parts *parts, struct engine **ret)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        parts->ops->close(parts->backend);
        return -ENOMEM;
    }
    e->config = parts->config;
    e->ops = parts->ops;
    e->backend = parts->backend;
    e->catalogue = parts->catalogue;
    e->store = parts->store;
    e->ledger = parts->ledger;
    e->arrivals = parts->arrivals;
    e->changed = attend;
    e->tail_hidden = image_tail_hidden;
    int r = make_rooms(e);
    if (r < 0) {
        engine_free(e);
        return r;
    }
    image_take_over(e);
    ages_start(e);
    r = start_threads(e, parts);
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
    struct image *image;
    while ((image = images_any(e)) != NULL) {
        EFFECTS(fx);
        EFFECTS(ended);
        image_take_ready_locked(image, -ECANCELED, &fx);
        image_take_wholes_locked(image, -ECANCELED, &ended); /* the queue's own, which ends, too */
        if (image->dropper != NULL) {
            image->dropper->status = -ECANCELED;
            TAILQ_INSERT_TAIL(&fx.woken, image->dropper, link);
            image->dropper = NULL;
        }
        fetch_stop_ranges(image);
        lanes_end(image);
        wake_all(&fx.woken);
        image_discard(image);
    }
}

void engine_stop(struct engine *e)
{
    atomic_store(&e->stopping, true);
    transfers_stop(e->transfers);
    if (e->fetching)
        pthread_join(e->fetch_thread, NULL);
    lookup_stop(e);
    handed_finish(e->handed);
    tasks_finish(e->adopt);
    tasks_finish(e->lister);
    tasks_finish(e->digests);
    tasks_finish(e->hash);
    tasks_finish(e->sync);
    checkpoint_last(e);
    tasks_finish(e->rows);
    e->rows = NULL;
    boots_finish(e->boots);
    drop_images(e);
    teller_finish(e->teller);
    engine_free(e);
}
