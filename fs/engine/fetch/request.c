/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests for bytes of an image. All of this happens on the fetch thread.
 *
 * A range claims its bytes from the moment it is made, so that nobody else asks for them (single flight). It lives through any number of
 * requests: when one breaks off, the range stays with what it received and the rest is asked for again. The server's answer is compared
 * with the version being fetched before a byte of it is kept, see version.c.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/abilities.h"
#include "base/log.h"
#include "engine/evict/space.h"
#include "engine/fetch/hedge.h"
#include "engine/fetch/pace.h"
#include "engine/fetch/private.h"
#include "engine/fetch/request.h"
#include "engine/fetch/version.h"
#include "engine/fetch/whole.h"
#include "engine/fetch/window.h"
#include "engine/images/account.h"
#include "image/ahead.h"
#include "engine/images/images.h"
#include "engine/lookup/lookup.h"
#include "image/due.h"
#include "origin/room.h"

/*
 * Was RANGE made before its image came to be one stream? It is about to be stopped, and until then it brings nothing: what the stream is
 * compared with is what was shown when it was decided, without a gap.
 */
static bool is_past(const struct range *range)
{
    return range->image->unproven && !range->stream;
}

/* ---- the answer's head */

/* The server has no Range support: one stream from the start serves everybody. */
static int take_whole_body(struct range *range)
{
    struct image *image = range->image;

    if (!image->unproven)
        whole_proved(range);
    if ((range->claim.start != 0 && !image->unproven) || range_first(image) != range || range_next(range) != NULL) {
        snprintf(range->why, sizeof(range->why), "the server sends whole images only");
        return -ENOTSUP;
    }
    if (range->claim.end < image->meta.size && !image->through && !space_fits(image->engine, image->meta.size - range->claim.end)) {
        snprintf(range->why, sizeof(range->why), "the server sends whole images only, and room has to be made for this one");
        return -ENOTSUP;
    }
    image_lock(image);
    space_count(image, (int64_t)(image->meta.size - range->claim.end), (int64_t)(image->meta.size - range->claim.end));
    range->claim.end = image->meta.size;
    range->skip = range->claim.pos;
    image->whole = true;
    image_unlock(image);
    return 0;
}

static void write_version(void *context)
{
    struct image *image = context;
    image_write_version(image);
    image_put(image);
}

/*
 * What the answer told of the version goes to the catalogue at once, not with the next checkpoint: what arrived outlives this process, and
 * is worth nothing to the next one when it cannot say of which version it is.
 */
static void keep_version(struct image *image)
{
    if (!image->version_told)
        return;
    image->version_told = false;
    tasks_add(image->engine->rows, write_version, image_ref(image));
}

static int on_head(void *context, const struct transfer_head *head)
{
    struct range *range = context;
    uint64_t offset = 0;

    if (is_past(range))
        return -ENOTSUP;
    range->first_at = clock_monotonic();
    range_waited(range->image, range->first_at - range->asked_at);
    range->retry_after = head->retry_after;
    if (range->others == 0 && abilities_doubted(range->extras, head->status)) /* asked once more without that, before a range is doubted */
        return -EPROTO;
    if (whole_is_suspected(range, head)) {
        snprintf(range->why, sizeof(range->why), "the server may send whole images only");
        return -ENOTSUP;
    }
    int r = version_check(range, head, backend_check_bytes(head, &range->image->meta, range->claim.pos, &offset));
    if (r < 0) {
        if (range->why[0] == '\0')
            snprintf(range->why, sizeof(range->why), "HTTP status %d", head->status);
        return r;
    }
    keep_version(range->image);
    room_answered(range->image->engine->origin);
    if (head->status == 200 && range->image->no_range)
        whole_proved(range);
    if (head->status == 200 && (range->claim.pos != 0 || range->claim.end < range->image->meta.size))
        return take_whole_body(range);
    return 0;
}

/* ---- its body */

/* Bytes that are in the file now: whoever waits for them gets them. */
static void arrived(void *context, uint64_t length)
{
    struct range *range = context;
    struct image *image = range->image;
    EFFECTS(fx);

    image_lock(image);
    struct span chunks = image_arrived_locked(image, &range->claim, length, clock_now(), &fx);
    for (uint64_t c = chunks.first; image->track != NULL && c < chunks.end; c++)
        track_set(image->track, c);
    if (!image->through)
        image_dirty_locked(image);
    if (image_hash_due_locked(image))
        image_changed_locked(image);
    image_unlock_and(image, &fx);
    ledger_count(image->engine->ledger, COUNT_BYTES_FETCHED, length);
    if (image->through)
        window_trim(image);
}

/* How many of the gathered bytes a reader waits for who would have all of his with them; to the end of a block, if that is here. */
static size_t awaited(const struct range *range)
{
    struct image *image = range->image;
    uint64_t from = range->claim.pos, to = range->claim.pos + range->writer.gathered, end = from;
    const struct waiter *w;
    image_lock(image);
    TAILQ_FOREACH(w, &image->waiters, link) {
        if (w->offset < to && w->offset + w->length > end && w->offset + w->length <= to)
            end = w->offset + w->length;
    }
    image_unlock(image);
    uint64_t block = (end + BLOCK - 1) / BLOCK * BLOCK;
    return (size_t)((end > from && block <= to ? block : end) - from);
}

/* R, of a write: what follows one that failed would not lie where it belongs. */
static int note_broken(struct range *range, int r)
{
    if (r < 0) {
        snprintf(range->why, sizeof(range->why), "writing to the cache directory");
        range->broken = r;
    }
    return r;
}

/* Writes the first LENGTH of the gathered bytes. */
static int flush(struct range *range, size_t length)
{
    if (is_past(range))
        return 0;
    return note_broken(range, writer_flush(&range->writer, range->claim.pos, range->claim.end, length));
}

static int keep(struct range *range, const unsigned char *bytes, size_t length)
{
    int r = note_broken(range, writer_put(&range->writer, range->claim.pos, range->claim.end, bytes, length));
    return r == 0 && range->writer.gathered > 0 ? flush(range, awaited(range)) : r;
}

void range_serve(struct image *image)
{
    for (struct range *range = range_first(image); range != NULL; range = range_next(range)) {
        if (range->writer.gathered > 0)
            flush(range, awaited(range));
    }
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct range *range = context;
    const unsigned char *bytes = data;

    if (is_past(range))
        return -ENOTSUP;
    if (range->broken < 0) /* what follows would not lie where it belongs */
        return range->broken;
    if (range->skip > 0) {
        size_t n = length < range->skip ? length : (size_t)range->skip;
        int r = version_compare(range, bytes, n);
        range->skip -= n;
        if (r == 0 && range->skip == 0 && range->image->unproven)
            r = version_adopt(range, head);
        if (r < 0)
            return r;
        keep_version(range->image);
        bytes += n;
        length -= n;
    }
    if (length > range->claim.end - range->claim.pos - range->writer.gathered) {
        snprintf(range->why, sizeof(range->why), "more bytes came than were asked for");
        return -EPROTO;
    }
    if (length == 0)
        return 0;
    return keep(range, bytes, length);
}

/* ---- its end */

static void range_complete(struct range *range)
{
    struct image *image = range->image;

    int64_t took = clock_monotonic() - range->first_at;
    image->fails = 0;
    image->tried = 0;
    image->stranger = false;
    image_lock(image);
    reach_got(&image->engine->fetch->reach, range->claim.pos - range->asked_pos, took, image->engine->fetch->connections + 1);
    image->rate = pace_rate(image->rate, range->claim.pos - range->asked_pos, took);
    if (image->dead == 0 && !image->through)
        image->error[0] = '\0';
    image_unlock(image);
    range_free(range);
}

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct range *range = context;
    struct engine *e = range->image->engine;

    range->transfer = NULL;
    hedge_drop(range);
    atomic_store(&range->claim.connected, false);
    e->fetch->connections--;
    room_left(e->origin, error < 0);
    int flushed = range->broken < 0 ? range->broken : error == -ECANCELED ? 0 : flush(range, range->writer.gathered);
    if (error == 0)
        error = flushed;
    image_ref(range->image); /* what follows may free the range and leave the active list */
    struct image *image = range->image;
    if (error == 0 && range->claim.pos < range->claim.end && range->claim.pos == range->asked_pos) {
        snprintf(range->why, sizeof(range->why), "an answer without the bytes that were asked for");
        error = -EPROTO;
    }
    /* All that was asked for came, and what went wrong after that is of no matter: nothing is left to ask for. */
    if ((error == -EPROTO || error == -ECONNRESET || error == -EAGAIN || error == -ETIMEDOUT) && flushed == 0 && range->claim.pos == range->claim.end)
        error = 0;
    bool broke_off = range->claim.pos < range->claim.end && error != -ECANCELED && error != -ESTALE && error != -ENOTSUP;
    if (broke_off && !version_may_go_on(image)) {
        snprintf(range->why, sizeof(range->why), "it broke off, and the backend does not say which version it sends");
        error = -ESTALE;
    }
    if (error != 0) {
        range->ended(range, error, result);
    } else {
        origin_ok(e->origin, range->endpoint);
        origin_otherwise(e->origin, range->endpoint, range->extras, result, &range->others);
        if (range->claim.pos == range->claim.end)
            range_complete(range);
        else if (range_again(range) < 0) /* the server cut the answer short, as it may */
            range_free(range);
    }
    if (room_has_guests(e->origin)) /* it is their turn */
        lookup_retry_early(e);
    image_changed(image);
    image_put(image);
}

static const struct transfer_ops range_ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};
static const struct hedge_calls hedge_calls = {.ops = &range_ops, .awaited = range_is_awaited};

/* ---- asking */

static int ask_endpoint(struct range *range)
{
    struct image *image = range->image;
    struct engine *e = image->engine;
    struct transfer_request request = {0};
    bool whole = image->no_range || image->unproven;
    image_lock(image);
    struct image_meta version = image->meta;
    image_unlock(image);

    if (image->unproven) /* no condition: what comes is compared */
        version.etag[0] = version.modified[0] = '\0';
    range->endpoint = origin_prefer(e->origin, version.endpoint, &image->tried);
    range->credential = auth_credential(e->origin);
    range->asked_at = clock_monotonic();
    int r = e->ops->bytes(e->backend, range->endpoint, image->name, &version, whole ? 0 : range->claim.pos, range->claim.end - 1, &request);
    range->extras = request.extras;
    if (r == 0 && whole) {
        request.ranged = false;
        range->skip = range->claim.pos;
    }
    if (range->capped && range_is_awaited(range))
        range_uncap(range);
    if (range->capped)
        request.max_rate = e->config->background_rate / e->fetch->capped + 1;
    if (r == 0)
        r = transfer_start(e->transfers, &request, &range_ops, range, &range->transfer);
    transfer_request_clear(&request);
    if (r < 0)
        return log_errno(r, "%s: a request for its bytes could not be made", image->name);
    atomic_store(&range->claim.connected, true);
    e->fetch->connections++;
    room_taken(e->origin);
    hedge_watch(range, &hedge_calls);
    return 0;
}

static const struct transfer_result no_credential = {.message = "no credential could be had for the backend"};

/* There is a credential now, or there is none to be had. */
static void authorised(void *context, int status)
{
    struct range *range = context;
    struct image *image = image_ref(range->image);
    if (status == -EHOSTUNREACH)
        range->ended(range, RANGE_NO_CREDENTIAL, &no_credential);
    else if (status < 0 || (status = ask_endpoint(range)) < 0)
        range->ended(range, status, &no_credential);
    image_changed(image);
    image_put(image);
}

int range_again(struct range *range)
{
    struct engine *e = range->image->engine;

    assert(range->transfer == NULL && range->auth.list == NULL);
    range->asked_pos = range->claim.pos;
    range->why[0] = '\0';
    range->skip = 0;
    range->broken = 0;
    range->retry_after = 0;
    range->auth.ready = authorised;
    range->auth.context = range;
    int r = auth_wait(e->origin, &range->auth);
    return r == AUTH_PARKED ? 0 : r < 0 ? r : ask_endpoint(range);
}

int range_start(struct image *image, enum fetch_class class, struct span span, range_ended_fn *ended)
{
    struct range *range = calloc(1, sizeof(*range));
    if (range == NULL)
        return -ENOMEM;
    *range = (struct range){.image = image, .ended = ended, .claim = {.start = span.first, .pos = span.first, .end = span.end}, .class = class};
    image_lock(image);
    range->file = image_file_ref(image->file);
    version_place_locked(range);
    image_claim_locked(image, &range->claim);
    space_count(image, (int64_t)(range->claim.end - range->claim.pos), (int64_t)(range->claim.end - range->claim.pos));
    image->reach = reach_of(&image->engine->fetch->reach);
    image->worth = reach_worth(&image->engine->fetch->reach);
    if ((class == FETCH_CLASS_DEMAND || class == FETCH_CLASS_AHEAD) && !image_wants_all_locked(image))
        image_ahead_mark_locked(image, span.first, span.end);
    if (image->fetch_began == 0)
        image->fetch_began = clock_monotonic();
    image_unlock(image);
    range->capped = class >= FETCH_CLASS_WHOLE_IMAGE && image->engine->config->background_rate > 0;
    image->engine->fetch->capped += range->capped;
    range->writer = (struct writer){.fd = range->file->fd, .written = arrived, .context = range};
    if (!image->through)
        range->writer.prefault = image->engine->fetch->prefault;
    if (!image->through && image->engine->fetch->buffers < BUFFERS && (range->writer.buffer = malloc(WRITER_FOLIO)) != NULL)
        image->engine->fetch->buffers++;
    image->tried = image->fails ? image->tried : 0;
    int r = range_again(range);
    if (r == -EHOSTUNREACH) {
        ended(range, RANGE_NO_CREDENTIAL, &no_credential); /* the range keeps its place */
        return 0;
    }
    if (r < 0)
        range_free(range);
    return r;
}

void range_free(struct range *range)
{
    struct image *image = range->image;
    struct engine *e = image->engine;

    auth_cancel(&range->auth);
    hedge_drop(range);
    if (range->transfer != NULL) {
        transfer_cancel(range->transfer);
        e->fetch->connections--;
        room_left(e->origin, false);
    }
    e->fetch->capped -= range->capped;
    image_lock(image);
    TAILQ_REMOVE(&image->claims, &range->claim, link);
    space_count(image, -(int64_t)(range->claim.end - range->claim.pos), -(int64_t)(range->claim.end - range->claim.pos));
    image_unlock(image);
    if (range->writer.buffer != NULL)
        e->fetch->buffers--;
    free(range->writer.buffer);
    image_file_put(range->file);
    free(range);
}
