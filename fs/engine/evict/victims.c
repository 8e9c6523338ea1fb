/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who goes, to make room: what is invalid first, then the images used longest ago, never one that is open or pinned, then partial images that
 * nobody reads or fetches. And who goes of itself, when nobody has read it for cache_ttl. On the rows thread; no lock.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/evict/remove.h"
#include "engine/evict/victims.h"
#include "engine/images/images.h"
#include "engine/images/load.h"
#include "engine/images/retired.h"

enum { PAGE = 64 };

struct victims {
    int64_t expire_at; /* monotonic; when cache_ttl is looked at next */
};

int victims_new(struct victims **ret)
{
    struct victims *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return -ENOMEM;
    *ret = v;
    return 0;
}

void victims_free(struct victims *v)
{
    free(v);
}

/* The files of what is invalid; why it is, stays. */
static uint64_t drop_invalid(struct engine *e, uint64_t need)
{
    struct invalid_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t after = 0;
    uint64_t freed = 0;
    int n;
    while (rows != NULL && freed < need && (n = catalogue_invalid_files(e->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && freed < need; i++) {
            if (store_remove(e->store, STORE_INVALID, rows[i].name) == 0 && catalogue_invalid_set_bytes(e->catalogue, rows[i].name, 0) == 0)
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
    image_lock(image);
    bool partial = image->state == IMAGE_PARTIAL && !image->through;
    if (partial) {
        image->written = 0;
        image_dirty_locked(image);
    }
    image_unlock(image);
    int r = partial ? catalogue_begin(e->catalogue, row->row, row->tag, clock_now()) : 0;
    if (r < 0)
        log_errno(r, "%s: its row could not be written; its bytes would be fetched again after a restart", row->name);
}

static bool forget_partial(struct engine *e, const struct image_row *row)
{
    if (image_row_is_bare(e, row)) /* what is fetched later may be of another version */
        return catalogue_replace_partial(e->catalogue, row, true, clock_now()) == 0 && store_remove(e->store, STORE_PARTIAL, row->name) == 0;
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

uint64_t victims_evict(struct engine *e, uint64_t need)
{
    touches_flush(e->touches, e->catalogue); /* the order is by access */
    retired_reap_unused(e);
    uint64_t freed = drop_invalid(e, need);
    if (freed < need)
        freed += evict_complete(e, need - freed);
    if (freed < need)
        freed += drop_idle_partial(e, need - freed);
    if (freed > 0)
        log_info("evicted %llu bytes to make room", (unsigned long long)freed);
    return freed;
}

/* ---- images nobody has read for cache_ttl */

void victims_hold(struct engine *e, int64_t until)
{
    e->victims->expire_at = until;
}

/* Nobody has it open, and nobody used it since it was listed: its last handle may have been closed just now, which is a use. */
static bool is_expired(struct engine *e, int64_t id, int64_t before)
{
    struct image_row row;
    if (ledger_handles(e->ledger, id) > 0 || catalogue_get(e->catalogue, id, &row) < 0)
        return false;
    touches_overlay(e->touches, &row);
    return row.last_accessed < before;
}

void victims_expire(struct engine *e)
{
    int64_t ttl = (int64_t)e->config->cache_ttl * NS_PER_S, now = clock_now();
    struct image_row *rows;
    int n;

    if (ttl == 0 || clock_monotonic() < e->victims->expire_at || (rows = malloc(PAGE * sizeof(*rows))) == NULL)
        return;
    e->victims->expire_at = clock_monotonic() + (ttl / 10 < 60 * NS_PER_S ? ttl / 10 : 60 * NS_PER_S);
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
