/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine tells about itself and its images: .status, queued/NAME, df, and rows as of this moment. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/log.h"
#include "engine/private.h"

static double seconds(int64_t ns)
{
    return (double)ns / (double)NS_PER_S;
}

void engine_refresh(struct engine *e, struct image_row *row)
{
    touches_overlay(e->touches, row);
    struct image *image = image_find(e, row->row);
    if (image == NULL)
        return;
    pthread_mutex_lock(&image->lock);
    row->bytes = image_present_locked(image);
    if (image->state == IMAGE_PARTIAL)
        row->last_modified = image->last_progress;
    if (row->state != IMAGE_RETIRED && image->state != IMAGE_RETIRED)
        row->state = image->through ? IMAGE_KNOWN : image->state;
    if (row->meta.digest.algorithm == DIGEST_NONE)
        row->meta.digest = image->meta.digest;
    if (row->meta.etag[0] == '\0')
        memcpy(row->meta.etag, image->meta.etag, sizeof(row->meta.etag));
    memcpy(row->error, image->error, sizeof(row->error));
    pthread_mutex_unlock(&image->lock);
    image_put(image);
}

void engine_count_open(struct engine *e, int64_t row, bool hit)
{
    ledger_count(e->ledger, hit ? COUNT_HITS : COUNT_MISSES, 1);
    touches_add(e->touches, row, hit, clock_now());
}

void engine_touch(struct engine *e, int64_t row)
{
    touches_add(e->touches, row, 0, clock_now());
}

int64_t engine_mounted_at(struct engine *e)
{
    return ledger_mounted_at(e->ledger);
}

unsigned engine_handles(struct engine *e, int64_t row)
{
    return ledger_handles(e->ledger, row);
}

int engine_space(struct engine *e, struct engine_space *ret)
{
    struct catalogue_totals t;
    int r = catalogue_totals(e->catalogue, &t);
    if (r < 0)
        return r;
    *ret = (struct engine_space){
        .limit = e->config->image_cache_max_size,
        .used = space_used(e),
        .images = t.complete,
        .partial = t.partial,
    };
    return 0;
}

/* ---- documents */

static json_t *fetch_document_locked(const struct image *image)
{
    double took = image->fetch_began ? seconds(clock_monotonic() - image->fetch_began) : 0;
    unsigned streams = 0;
    const struct range *r;
    TAILQ_FOREACH(r, &image->ranges, link) {
        streams += atomic_load(&r->asked);
    }
    const char *why = image->queue_row > 0 ? "prefetch" : image->whole ? "whole" : "demand";
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:s, s:b}", "image", json_text(image->name), "size", (json_int_t)image->meta.size,
                     "bytes_cached", (json_int_t)image_present_locked(image), "bytes_per_second",
                     (json_int_t)(took > 0.05 ? (double)image->fetched / took : 0), "streams", (json_int_t)streams, "for", why,
                     "verifying", image->finishing);
}

static json_t *fetches(struct engine *e)
{
    json_t *list = json_array();
    struct image *image, *next;
    pthread_mutex_lock(&e->lock);
    HASH_ITER(hh, e->images, image, next) {
        pthread_mutex_lock(&image->lock);
        if (image->fetch_began != 0 && image->state == IMAGE_PARTIAL)
            json_array_append_new(list, fetch_document_locked(image));
        pthread_mutex_unlock(&image->lock);
    }
    pthread_mutex_unlock(&e->lock);
    return list;
}

/* How many of the fetches done took at most so long; the last one counts all, its bound is null. */
static json_t *fetch_seconds(struct engine *e)
{
    json_t *bounds = json_array(), *counts = json_array();
    uint64_t sum = 0;
    for (unsigned i = 0; i <= COUNT_FETCH_LE_LAST - COUNT_FETCH_LE; i++) {
        sum += ledger_counter(e->ledger, COUNT_FETCH_LE + i);
        json_array_append_new(bounds, COUNT_FETCH_LE + i < COUNT_FETCH_LE_LAST ? json_real(FETCH_SECONDS[i]) : json_null());
        json_array_append_new(counts, json_integer((json_int_t)sum));
    }
    return json_pack("{s:o, s:o, s:f}", "at_most", bounds, "count", counts, "sum",
                     (double)ledger_counter(e->ledger, COUNT_FETCH_MS) / 1000);
}

static json_t *counters(struct engine *e)
{
    static const struct { const char *name; enum ledger_counter counter; } all[] = {
        {"hits", COUNT_HITS}, {"misses", COUNT_MISSES}, {"bytes_fetched", COUNT_BYTES_FETCHED}, {"bytes_read", COUNT_BYTES_READ},
        {"fetches_done", COUNT_FETCHES_DONE}, {"fetches_failed", COUNT_FETCHES_FAILED}, {"verify_failed", COUNT_VERIFY_FAILED},
        {"evictions", COUNT_EVICTIONS}, {"backend_errors", COUNT_BACKEND_ERRORS}, {"worker_starts", COUNT_WORKER_STARTS},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        json_object_set_new(o, all[i].name, json_integer((json_int_t)ledger_counter(e->ledger, all[i].counter)));
    json_object_set_new(o, "fetch_seconds", fetch_seconds(e));
    json_object_set_new(o, "open_handles", json_integer((json_int_t)ledger_all_handles(e->ledger)));
    return o;
}

json_t *engine_status(struct engine *e)
{
    struct catalogue_totals t = {0};
    struct engine_space space = {0};
    uint64_t total = 0, available = 0;
    int r = catalogue_totals(e->catalogue, &t);
    if (r == 0)
        engine_space(e, &space);
    store_space(e->store, &total, &available);
    pthread_mutex_lock(&e->lock);
    bool adopting = e->adopting;
    uint64_t left = e->left, left_bytes = e->left_bytes;
    double listed = seconds(e->listed_at);
    int list_status = e->list_status;
    pthread_mutex_unlock(&e->lock);
    return json_pack("{s:s, s:f, s:{s:I, s:I, s:I, s:I}, s:{s:I, s:I, s:I, s:I, s:I}, s:o, s:o, s:{s:s, s:o, s:f, s:s}, s:b, s:s, s:{s:I, s:I}}",
                     "version", PACKAGE_VERSION, "mounted_at", seconds(ledger_mounted_at(e->ledger)),
                     "space", "limit", (json_int_t)space.limit, "used", (json_int_t)space.used, "disk_total", (json_int_t)total,
                     "disk_available", (json_int_t)available,
                     "images", "cached", (json_int_t)t.complete, "incomplete", (json_int_t)t.partial, "queued",
                     (json_int_t)t.queued, "invalid", (json_int_t)t.invalid, "evicted_but_open", (json_int_t)t.retired,
                     "counters", counters(e), "fetches", fetches(e),
                     "backend", "type", e->ops->type, "endpoints", origin_status(e), "listed_at", listed, "listing",
                     list_status == 0 ? "ok" : error_text(list_status),
                     "adopting", adopting, "disk", catalogue_is_memory(e->catalogue) ? "not usable: nothing is kept" : "ok", "left_alone", "files", (json_int_t)left, "bytes", (json_int_t)left_bytes);
}

json_t *engine_queue_status(struct engine *e, const struct queue_row *row)
{
    struct image_row image_row;
    bool fetching = prefetch_is_under_way(e, row->name);
    uint64_t bytes = 0, size = IMAGE_SIZE_UNKNOWN;
    if (catalogue_find(e->catalogue, row->name, &image_row) == 0) {
        engine_refresh(e, &image_row);
        bytes = image_row.bytes;
        size = image_row.meta.size;
    }
    const char *state = fetching ? "fetching" : row->attempts > 0 ? "waiting to try again" : "queued";
    return json_pack("{s:o, s:s, s:f, s:I, s:o, s:I, s:f, s:o}", "image", json_text(row->name), "state", state, "queued",
                     seconds(row->queued), "bytes_cached", (json_int_t)bytes, "size",
                     size == IMAGE_SIZE_UNKNOWN ? json_null() : json_integer((json_int_t)size), "failed_tries",
                     (json_int_t)row->attempts, "next_try", seconds(row->next_try), "error", json_text(row->error));
}
