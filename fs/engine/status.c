/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine tells about itself and its images: .status, queued/NAME, df, and rows as of this moment. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json_text.h"
#include "base/log.h"
#include "base/version.h"
#include "engine/adopt.h"
#include "engine/bootset/boots.h"
#include "engine/engine.h"
#include "engine/evict/space.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/lookup/listing.h"
#include "engine/queue.h"

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
    image_lock(image);
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
    image_unlock(image);
    image_put(image);
}

void engine_count_open(struct engine *e, int64_t row, bool hit, uint64_t size)
{
    ledger_count(e->ledger, hit ? COUNT_HITS : COUNT_MISSES, 1);
    if (hit)
        ledger_count(e->ledger, COUNT_BYTES_HIT, size);
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
    const struct claim *c;
    TAILQ_FOREACH(c, &image->claims, link) {
        streams += atomic_load(&c->connected);
    }
    const char *why = !TAILQ_EMPTY(&image->wholes) ? "prefetch" : image->whole ? "whole" : "demand";
    return json_pack("{s:o, s:I, s:I, s:I, s:I, s:s, s:b}", "image", json_text(image->name), "size", (json_int_t)image->meta.size,
                     "bytes_cached", (json_int_t)image_present_locked(image), "bytes_per_second",
                     (json_int_t)(took > 0.05 ? (double)image->fetched / took : 0), "streams", (json_int_t)streams, "for", why,
                     "verifying", image->hands == HANDS_FINISH);
}

static void add_fetch(struct image *image, void *context)
{
    image_lock(image);
    if (image->fetch_began != 0 && image->state == IMAGE_PARTIAL)
        json_array_append_new(context, fetch_document_locked(image));
    image_unlock(image);
}

static json_t *fetches(struct engine *e)
{
    json_t *list = json_array();
    images_each(e, add_fetch, list);
    return list;
}

/* How many took at most so long; the last one counts all, its bound is null. */
static json_t *durations(struct engine *e, enum ledger_duration duration)
{
    json_t *bounds = json_array(), *counts = json_array();
    const double *bound = ledger_bounds(duration);
    uint64_t sum = 0;
    for (unsigned i = 0; i < LEDGER_CLASSES; i++) {
        sum += ledger_class(e->ledger, duration, i);
        json_array_append_new(bounds, i < LEDGER_CLASSES - 1 ? json_real(bound[i]) : json_null());
        json_array_append_new(counts, json_integer((json_int_t)sum));
    }
    return json_pack("{s:o, s:o, s:f}", "at_most", bounds, "count", counts, "sum", ledger_sum(e->ledger, duration));
}

static json_t *failures(struct engine *e)
{
    json_t *o = json_object();
    for (unsigned i = 0; i < REASON_COUNT; i++)
        json_object_set_new(o, LEDGER_REASONS[i], json_integer((json_int_t)ledger_counter(e->ledger, COUNT_REASONS + i)));
    return o;
}

static json_t *counters(struct engine *e)
{
    static const struct { const char *name; enum ledger_counter counter; } all[] = {
        {"hits", COUNT_HITS}, {"misses", COUNT_MISSES}, {"bytes_hit", COUNT_BYTES_HIT}, {"bytes_fetched", COUNT_BYTES_FETCHED},
        {"bytes_read", COUNT_BYTES_READ}, {"fetches_done", COUNT_FETCHES_DONE}, {"fetches_failed", COUNT_FETCHES_FAILED},
        {"verify_failed", COUNT_VERIFY_FAILED}, {"evictions", COUNT_EVICTIONS}, {"bytes_evicted", COUNT_BYTES_EVICTED},
        {"backend_errors", COUNT_BACKEND_ERRORS}, {"worker_starts", COUNT_WORKER_STARTS},
    };
    json_t *o = json_object();
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        json_object_set_new(o, all[i].name, json_integer((json_int_t)ledger_counter(e->ledger, all[i].counter)));
    json_object_set_new(o, "backend_errors_by_reason", failures(e));
    json_object_set_new(o, "fetch_seconds", durations(e, DURATION_FETCH));
    json_object_set_new(o, "first_byte_seconds", durations(e, DURATION_FIRST_BYTE));
    json_object_set_new(o, "read_seconds", json_pack("{s:o, s:o, s:o}", "cold", durations(e, DURATION_READ_COLD), "prefetched",
                                                     durations(e, DURATION_READ_PREFETCHED), "warm", durations(e, DURATION_READ_WARM)));
    json_object_set_new(o, "open_handles", json_integer((json_int_t)ledger_all_handles(e->ledger)));
    return o;
}

static json_t *space_document(struct engine *e, const struct catalogue_totals *t, const struct engine_space *space)
{
    uint64_t total = 0, available = 0;
    store_space(e->store, &total, &available);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "limit", (json_int_t)space->limit, "used", (json_int_t)space->used,
                     "cached", (json_int_t)t->complete_bytes, "incomplete", (json_int_t)t->partial_bytes, "invalid",
                     (json_int_t)t->invalid_bytes, "evicted_but_open", (json_int_t)t->retired_bytes, "pinned",
                     (json_int_t)t->pinned_bytes, "disk_total", (json_int_t)total, "disk_available", (json_int_t)available);
}

static json_t *images_document(const struct catalogue_totals *t)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "cached", (json_int_t)t->complete, "incomplete", (json_int_t)t->partial, "queued",
                     (json_int_t)t->queued, "invalid", (json_int_t)t->invalid, "evicted_but_open", (json_int_t)t->retired, "pinned",
                     (json_int_t)t->pinned);
}

/* Since when the first of the queue waits; 0: there is none. Rows are in the order they were queued in. */
static double oldest_queued(struct engine *e)
{
    struct queue_row first;
    return catalogue_queue_page(e->catalogue, 0, &first, 1) == 1 ? seconds(first.queued) : 0;
}

static json_t *bootsets(struct engine *e)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "sets", (json_int_t)boots_count(e->boots), "boots",
                     (json_int_t)ledger_counter(e->ledger, COUNT_BOOTS), "replays", (json_int_t)ledger_counter(e->ledger, COUNT_REPLAYS),
                     "replayed_read", (json_int_t)ledger_counter(e->ledger, COUNT_REPLAYED_READ), "replayed_not_read",
                     (json_int_t)ledger_counter(e->ledger, COUNT_REPLAYED_UNREAD));
}

json_t *engine_status(struct engine *e)
{
    struct catalogue_totals t = {0};
    struct engine_space space = {0};
    if (catalogue_totals(e->catalogue, &t) == 0)
        engine_space(e, &space);
    struct adopted_count left = adopted_count(e);
    int64_t listed_at;
    char distrust[SIGNED_WHY_MAX];
    published_why(e, distrust);
    int list_status = listing_status(e, &listed_at);
    return json_pack("{s:s, s:s, s:f, s:o, s:o, s:f, s:I, s:o, s:o, s:o, s:{s:s, s:o, s:f, s:s, s:s}, s:b, s:s, s:{s:I, s:I}}",
                     "version", PACKAGE_VERSION, "commit", version_commit(), "mounted_at", seconds(ledger_mounted_at(e->ledger)),
                     "space", space_document(e, &t, &space), "images", images_document(&t), "oldest_queued_at", oldest_queued(e),
                     "open_handles", (json_int_t)ledger_all_handles(e->ledger),
                     "counters", counters(e), "fetches", fetches(e), "bootsets", bootsets(e),
                     "backend", "type", e->ops->type, "endpoints", origin_status(e->origin), "listed_at", seconds(listed_at), "listing",
                     list_status == 0 ? "ok" : error_text(list_status), "checksums", distrust[0] ? distrust : "ok", "adopting", left.under_way, "disk",
                     catalogue_is_memory(e->catalogue) ? "not usable: nothing is kept" : "ok", "left_alone", "files", (json_int_t)left.files,
                     "bytes", (json_int_t)left.bytes);
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
    return json_pack("{s:o, s:s, s:f, s:f, s:f, s:f, s:I, s:o, s:I, s:o}", "image", json_text(row->name), "state", state, "queued_at",
                     seconds(row->queued), "next_try_at", seconds(row->next_try), "queued", seconds(row->queued), "next_try",
                     seconds(row->next_try), "bytes_cached", (json_int_t)bytes, "size",
                     size == IMAGE_SIZE_UNKNOWN ? json_null() : json_integer((json_int_t)size), "failed_tries",
                     (json_int_t)row->attempts, "error", json_text(row->error));
}
