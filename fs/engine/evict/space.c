/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the cache: the limits hold without cron.
 *
 * Before a request for bytes is made, or those are kept that came with a look-up, their room is reserved: what the catalogue counts, what it
 * does not count yet (received since the last checkpoint, or still under way) and the new ones together may not exceed
 * image_cache_max_size, and what they take from the disk must leave min_free. When they would, the rows thread evicts (victims.c). An image
 * for which no room can be made goes straight through (through.c).
 */
#include "config-auto.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "engine/evict/space.h"
#include "engine/evict/victims.h"
#include "engine/images/account.h"
#include "engine/images/images.h"
#include "engine/images/retired.h"

enum { FREED_PAUSE_MS = 5, FREED_WITHIN_MS = 1000, DISK_SLACK = 1 << 20 };

struct space {
    void (*made)(void *engine, bool enough);
    bool making_room;                  /* the fetch thread's: the rows thread evicts */
    uint64_t room_length, room_needed; /* what was asked for, and how much of it must be freed; fixed while it does */
};

int space_new(void (*made)(void *engine, bool enough), struct space **ret)
{
    struct space *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->made = made;
    *ret = s;
    return 0;
}

void space_free(struct space *s)
{
    free(s);
}

/* Bytes the cache takes, all of it. */
static uint64_t used(struct engine *e)
{
    struct catalogue_totals t = {0};
    int64_t more = atomic_load(&e->unwritten);
    if (catalogue_totals(e->catalogue, &t) < 0)
        return 0;
    return t.complete_bytes + t.partial_bytes + t.retired_bytes + t.invalid_bytes + (more > 0 ? (uint64_t)more : 0);
}

/* Never less than what the file system may need to keep a file besides its bytes. */
static uint64_t min_free(const struct engine *e, uint64_t total)
{
    uint64_t share = e->config->min_free, least = total / 100 < DISK_SLACK ? total / 100 : DISK_SLACK;
    uint64_t bytes = (share & CONFIG_PERCENT) != 0 ? total / 100 * (share & ~CONFIG_PERCENT) : share;
    return bytes > least ? bytes : least;
}

/* How many bytes must go before LENGTH more fit. */
static uint64_t shortage(struct engine *e, uint64_t length)
{
    uint64_t total, available, limit = e->config->image_cache_max_size, short_of = 0;
    uint64_t want = used(e) + length;
    if (want > limit)
        short_of = want - limit;
    if (store_space(e->store, &total, &available) == 0) {
        int64_t more = atomic_load(&e->reserved); /* under way, not on the disk yet */
        uint64_t need = min_free(e, total) + length + (more > 0 ? (uint64_t)more : 0);
        if (need > available && need - available > short_of)
            short_of = need - available;
    }
    return short_of;
}

/* ---- making room */

static void room_made(void *context)
{
    struct engine *e = context;
    e->space->making_room = false;
    e->space->made(e, shortage(e, e->space->room_length) == 0);
}

/*
 * Bytes of a removed file are not free at once: XFS frees them in the background, and a file that is read just now goes a moment later.
 * Waited for, or the image would go straight through although there is room.
 */
static void await_room(struct engine *e, uint64_t length)
{
    const struct timespec pause = {.tv_nsec = FREED_PAUSE_MS * NS_PER_S / 1000};
    int64_t end = clock_monotonic() + FREED_WITHIN_MS * (NS_PER_S / 1000);
    for (;;) {
        retired_reap_unused(e); /* this is the thread that would have to */
        if (shortage(e, length) == 0 || clock_monotonic() >= end || atomic_load(&e->stopping))
            return;
        nanosleep(&pause, NULL);
    }
}

/* Evicts until LENGTH more bytes fit, NEED bytes at least. */
static void evict_for(struct engine *e, uint64_t length, uint64_t need)
{
    if (victims_evict(e, need) >= need)
        await_room(e, length);
}

static void make_room(void *context)
{
    struct engine *e = context;
    evict_for(e, e->space->room_length, e->space->room_needed);
    transfers_tell(e->transfers, room_made, e);
}

bool space_reserve_first(struct image *image, uint64_t length)
{
    struct engine *e = image->engine;
    uint64_t need;

    image_lock(image);
    space_count(image, (int64_t)length, (int64_t)length);
    image_unlock(image);
    if (!e->config->evict_inline || (need = shortage(e, 0)) == 0)
        return true;
    evict_for(e, 0, need);
    if (shortage(e, 0) == 0)
        return true;
    image_lock(image);
    space_count(image, -(int64_t)length, -(int64_t)length);
    image_unlock(image);
    return false;
}

enum room space_reserve(struct image *image, uint64_t length)
{
    struct engine *e = image->engine;
    uint64_t need;

    if (image->through || !e->config->evict_inline || (need = shortage(e, length)) == 0)
        return ROOM_THERE;
    if (length > e->config->image_cache_max_size)
        return ROOM_NEVER;
    if (!e->space->making_room) {
        e->space->making_room = true;
        e->space->room_length = length;
        e->space->room_needed = need;
        tasks_add(e->rows, make_room, e);
    }
    return ROOM_BEING_MADE;
}

struct taking {
    struct engine *e;
    uint64_t length;
    bool taken;
    sem_t done;
};

static void take(void *context)
{
    struct taking *t = context;
    uint64_t need = t->e->config->evict_inline ? shortage(t->e, t->length) : 0;
    if (need > 0)
        evict_for(t->e, t->length, need);
    t->taken = need == 0 || shortage(t->e, t->length) == 0;
    if (t->taken) {
        atomic_fetch_add(&t->e->unwritten, (int64_t)t->length);
        atomic_fetch_add(&t->e->reserved, (int64_t)t->length);
    }
    sem_post(&t->done);
}

bool space_take(struct engine *e, uint64_t length)
{
    struct taking t = {.e = e, .length = length};
    if (e->config->evict_inline && length > e->config->image_cache_max_size)
        return false;
    sem_init(&t.done, 0, 0);
    tasks_add(e->rows, take, &t);
    while (sem_wait(&t.done) < 0)
        ;
    sem_destroy(&t.done);
    return t.taken;
}

void space_written(struct engine *e, uint64_t length)
{
    atomic_fetch_sub(&e->reserved, (int64_t)length);
}

void space_give_back(struct engine *e, uint64_t taken, uint64_t under_way)
{
    atomic_fetch_sub(&e->unwritten, (int64_t)taken);
    atomic_fetch_sub(&e->reserved, (int64_t)under_way);
}

bool space_fits(struct engine *e, uint64_t length)
{
    return !e->config->evict_inline || shortage(e, length) == 0;
}

bool space_can_hold(struct engine *e, uint64_t size)
{
    uint64_t total, available;
    if (catalogue_is_memory(e->catalogue))
        return false;
    if (!e->config->evict_inline)
        return true;
    if (size > e->config->image_cache_max_size)
        return false;
    return store_space(e->store, &total, &available) < 0 || (total > min_free(e, total) && size <= total - min_free(e, total));
}

uint64_t space_used(struct engine *e)
{
    return used(e);
}
