/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Room in the cache: the limits hold without cron.
 *
 * Before a request for bytes is made, or those are kept that came with a look-up, their room is reserved: what the catalogue counts, what it
 * does not count yet (received since the last checkpoint, or still under way) and the new ones together may not exceed
 * image_cache_max_size, and what they take from the disk must leave min_free. When they would, the rows thread evicts: what is invalid
 * first, then the images used longest ago, never one that is open or pinned, then partial images that nobody reads or fetches. An image
 * for which no room can be made goes straight through (through.c).
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "engine/private.h"

enum { PAGE = 64, FREED_PAUSE_MS = 5, FREED_WITHIN_MS = 1000, DISK_SLACK = 1 << 20 };

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

/* ---- evicting, on the rows thread */

/* The files of what is invalid; why it is, stays. */
static uint64_t drop_invalid(struct engine *e, uint64_t need)
{
    struct invalid_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t after = 0;
    uint64_t freed = 0;
    int n;
    while (rows != NULL && freed < need && (n = catalogue_invalid_files(e->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && freed < need; i++) {
            if (catalogue_invalid_set_bytes(e->catalogue, rows[i].name, 0) == 0 &&
                store_remove(e->store, STORE_INVALID, rows[i].name) == 0)
                freed += rows[i].bytes;
        }
        after = rows[n - 1].row;
    }
    free(rows);
    return freed;
}

static uint64_t evict_complete(struct engine *e, uint64_t need)
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t accessed = INT64_MIN, row = 0;
    uint64_t freed = 0;
    int n;
    while (rows != NULL && freed < need && (n = catalogue_least_recent(e->catalogue, accessed, row, rows, PAGE)) > 0) {
        for (int i = 0; i < n && freed < need; i++) {
            if (evict_idle(e, rows[i].row) == 0)
                freed += rows[i].meta.size;
        }
        accessed = rows[n - 1].last_accessed;
        row = rows[n - 1].row;
    }
    free(rows);
    return freed;
}

/* Somebody came to use the image just now: its row is what it was, and its map comes with the next checkpoint. */
static void take_back(struct engine *e, const struct image_row *row, struct image *image)
{
    pthread_mutex_lock(&image->lock);
    bool partial = image->state == IMAGE_PARTIAL && !image->through;
    if (partial) {
        image->written = 0;
        image_dirty_locked(image);
    }
    pthread_mutex_unlock(&image->lock);
    int r = partial ? catalogue_begin(e->catalogue, row->row, row->tag, clock_now()) : 0;
    if (r < 0)
        log_errno(r, "%s: its row could not be written; its bytes would be fetched again after a restart", row->name);
}

static bool forget_partial(struct engine *e, const struct image_row *row)
{
    if (catalogue_reset_unpinned(e->catalogue, row->row) < 0)
        return false;
    atomic_fetch_add(&e->retirements, 1);
    struct image *image = image_find(e, row->row);
    if (image == NULL)
        return store_remove(e->store, STORE_PARTIAL, row->name) == 0;
    take_back(e, row, image);
    image_put(image);
    return false;
}

static uint64_t drop_idle_partial(struct engine *e, uint64_t need)
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t after = 0;
    uint64_t freed = 0;
    int n;
    while (rows != NULL && freed < need && (n = catalogue_page(e->catalogue, CATALOGUE_INCOMPLETE, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && freed < need; i++) {
            struct image *image = image_find(e, rows[i].row);
            if (image != NULL)
                image_put(image);
            else if (!rows[i].pinned && ledger_handles(e->ledger, rows[i].row) == 0 &&
                     forget_partial(e, &rows[i]))
                freed += rows[i].bytes;
        }
        after = rows[n - 1].place;
    }
    free(rows);
    return freed;
}

static void room_made(void *context)
{
    struct engine *e = context;
    struct image *image, *next;
    bool enough = shortage(e, e->room_length) == 0;

    e->making_room = false;
    for (image = TAILQ_FIRST(&e->active); image != NULL; image = next) {
        next = TAILQ_NEXT(image, active_link);
        if (!image->wants_room)
            continue;
        image->wants_room = false;
        if (!enough) { /* the others may want less: they ask again */
            image_ref(image);
            through_start(image, "no room can be made in the cache");
            enough = image->through;
            image_put(image);
        }
    }
    fetch_schedule(e);
}

/*
 * Bytes of a removed file are not free at once: XFS frees them in the background, and a file that is read just now goes a moment later.
 * Waited for, or the image would go straight through although there is room.
 */
static void await_room(struct engine *e, uint64_t length)
{
    const struct timespec pause = {.tv_nsec = FREED_PAUSE_MS * NS_PER_S / 1000};
    int64_t end = clock_monotonic() + FREED_WITHIN_MS * (NS_PER_S / 1000);
    while (shortage(e, length) > 0 && clock_monotonic() < end && !atomic_load(&e->stopping))
        nanosleep(&pause, NULL);
}

/* Evicts until LENGTH more bytes fit, NEED bytes at least. */
static void evict_for(struct engine *e, uint64_t length, uint64_t need)
{
    touches_flush(e->touches, e->catalogue); /* the order is by access */
    uint64_t freed = drop_invalid(e, need);
    if (freed < need)
        freed += evict_complete(e, need - freed);
    if (freed < need)
        freed += drop_idle_partial(e, need - freed);
    if (freed > 0)
        log_info("evicted %llu bytes to make room", (unsigned long long)freed);
    if (freed >= need)
        await_room(e, length);
}

static void make_room(void *context)
{
    struct engine *e = context;
    evict_for(e, e->room_length, e->room_needed);
    engine_post(e, room_made, e);
}

bool space_reserve_first(struct image *image, uint64_t length)
{
    struct engine *e = image->engine;
    uint64_t need;

    pthread_mutex_lock(&image->lock);
    space_count(image, (int64_t)length, (int64_t)length);
    pthread_mutex_unlock(&image->lock);
    if (!e->config->evict_inline || (need = shortage(e, 0)) == 0)
        return true;
    evict_for(e, 0, need);
    if (shortage(e, 0) == 0)
        return true;
    pthread_mutex_lock(&image->lock);
    space_count(image, -(int64_t)length, -(int64_t)length);
    pthread_mutex_unlock(&image->lock);
    return false;
}

bool space_reserve(struct image *image, uint64_t length)
{
    struct engine *e = image->engine;
    uint64_t need;

    if (image->through || !e->config->evict_inline || (need = shortage(e, length)) == 0)
        return true;
    if (length > e->config->image_cache_max_size) {
        through_start(image, "it is larger than the cache");
        return false;
    }
    image->wants_room = true;
    if (!e->making_room) {
        e->making_room = true;
        e->room_length = length;
        e->room_needed = need;
        tasks_add(e->rows, make_room, e);
    }
    return false;
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

void space_count(struct image *image, int64_t unwritten, int64_t reserved)
{
    if (image->through)
        return;
    image->unwritten += unwritten;
    atomic_fetch_add(&image->engine->unwritten, unwritten);
    atomic_fetch_add(&image->engine->reserved, reserved);
}

uint64_t space_used(struct engine *e)
{
    return used(e);
}

/* ---- images nobody has read for cache_ttl, on the rows thread */

/* Nobody has it open, and nobody used it since it was listed: its last handle may have been closed just now, which is a use. */
static bool is_expired(struct engine *e, int64_t id, int64_t before)
{
    struct image_row row;
    if (ledger_handles(e->ledger, id) > 0 || catalogue_get(e->catalogue, id, &row) < 0)
        return false;
    touches_overlay(e->touches, &row);
    return row.last_accessed < before;
}

void space_expire(struct engine *e)
{
    int64_t ttl = (int64_t)e->config->cache_ttl * NS_PER_S, now = clock_now();
    struct image_row *rows;
    int n;

    if (ttl == 0 || clock_monotonic() < e->expire_at || (rows = malloc(PAGE * sizeof(*rows))) == NULL)
        return;
    e->expire_at = clock_monotonic() + (ttl / 10 < 60 * NS_PER_S ? ttl / 10 : 60 * NS_PER_S);
    touches_flush(e->touches, e->catalogue);
    int64_t accessed = INT64_MIN, row = 0;
    bool more = true;
    while (more && (n = catalogue_least_recent(e->catalogue, accessed, row, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more; i++) {
            more = now - rows[i].last_accessed > ttl;
            if (more && is_expired(e, rows[i].row, now - ttl))
                evict_idle(e, rows[i].row);
        }
        accessed = rows[n - 1].last_accessed;
        row = rows[n - 1].row;
    }
    free(rows);
}
