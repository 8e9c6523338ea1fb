/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for bytes that failed: another endpoint, another try after a pause, or the end of the fetch. On the fetch thread. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/refusal.h"
#include "base/backoff.h"
#include "base/log.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/request.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/fetch/whole.h"
#include "engine/images/images.h"
#include "origin/room.h"

static void retry_due(void *context);

/*
 * Another try of IMAGE failed: its ranges wait for PAUSE ms (0: growing ones), but not for ever. Those that fail while one waits already
 * are the same try: with many streams it would be the last one at once. May free all of them.
 */
static void pause_image(struct image *image, uint64_t pause, int error, const char *what)
{
    struct engine *e = image->engine;

    if (image->retry != NULL)
        return;
    if (image->fetched != image->failed_at) /* others bring bytes: it is no try of the image as a whole */
        image->fails = 0;
    image->failed_at = image->fetched;
    if (++image->fails > e->config->retries) {
        char why[IMAGE_ERROR_MAX + 1];
        snprintf(why, sizeof(why), "%s (tried %u times)", what, image->fails);
        if (image->stranger) /* others have it, and maybe for good, in another version */
            fetch_changed(image, why);
        else
            fetch_fail(image, -EIO, why);
        return;
    }
    uint64_t own = backoff_ms(e->config->retry_delay, image->fails, (uint32_t)random());
    uint64_t ms = pause < PAUSE_MAX_S * UINT64_C(1000) ? pause : PAUSE_MAX_S * UINT64_C(1000);
    ms = ms ? ms : own;
    image->retry_least = clock_monotonic() + (int64_t)(own < ms ? own : ms) * NS_PER_MS;
    log_info("%s: %s; asking again in %llu ms (%s)", image->name, what, (unsigned long long)ms, error_text(error));
    if (transfers_timer(e->transfers, ms, retry_due, image, &image->retry) < 0)
        fetch_fail(image, -EIO, "out of memory");
}

/* Who gives out credentials cannot be reached: a failed try as any other, and the next is when it is asked again. */
static void pause_for_credential(struct image *image)
{
    pause_image(image, auth_pause(image->engine->origin), -EHOSTUNREACH, "no credential could be had for the backend");
}

static void retry_due(void *context)
{
    struct image *image = image_ref(context);
    struct range *range, *next;
    bool unauthorised = false;

    image->retry = NULL;
    for (range = range_first(image); range != NULL; range = next) {
        next = range_next(range);
        int r = range->transfer == NULL && range->auth.list == NULL ? range_again(range) : 0;
        if (r == -EHOSTUNREACH)
            unauthorised = true;
        else if (r < 0)
            range_free(range);
    }
    if (unauthorised)
        pause_for_credential(image);
    image_changed(image);
    image_put(image);
}

/* Not at once, each time: others may get answers while this one gets none. */
void range_retry_early(struct image *image)
{
    struct engine *e = image->engine;
    int64_t left = image->retry_least - clock_monotonic();
    transfers_timer_cancel(e->transfers, image->retry);
    image->retry = NULL;
    if (transfers_timer(e->transfers, left > 0 ? (uint64_t)(left / NS_PER_MS) : 0, retry_due, image, &image->retry) < 0)
        fetch_fail(image, -EIO, "out of memory");
}

/*
 * Was RANGE one too many for the server? It gives its bytes back, to be asked for when there is room. An image whose request failed alone is another
 * matter, and so is one that comes as one stream.
 */
static bool waits_for_room(struct range *range, int error, const struct transfer_result *result)
{
    struct image *image = range->image;
    if (image->fails > 0 || image->no_range || image->unproven || range->claim.pos > range->asked_pos ||
        !room_refused(image->engine->origin, result->status, error, range->retry_after, range->asked_at))
        return false;
    range_free(range);
    return true;
}

/* RANGE was asked for in vain as often as it may be, while others of its image bring bytes: who waits for it gets an error, and they go on. */
static void give_up(struct range *range, const char *what)
{
    struct image *image = range->image;
    EFFECTS(fx);
    image_lock(image);
    image_take_those_locked(image, range->claim.pos, range->claim.end, -EIO, &fx);
    image_set_error_locked(image, "bytes %llu to %llu: %s (tried %u times)", (unsigned long long)range->claim.pos,
                           (unsigned long long)range->claim.end - 1, what, range->fails);
    image_unlock(image);
    range_free(range);
    image_do(image, &fx);
}

/* The request of RANGE failed in a way that another try may mend. */
static void try_again(struct range *range, int error, const char *what)
{
    struct image *image = range->image;
    struct engine *e = image->engine;
    unsigned all = origin_all(e->origin);

    if (range->claim.pos > range->asked_pos) { /* it got somewhere: the count begins anew */
        image->fails = 0;
        image->tried = 0;
        image->stranger = false;
        range->fails = 0;
    }
    image->tried |= 1u << range->endpoint;
    if (range->claim.pos - range->asked_pos >= CHUNK_MIN || (image->tried & all) != all) {
        if (range_again(range) == 0)
            return;
    }
    image->tried = 0;
    uint64_t pause = range->retry_after * UINT64_C(1000);
    if (++range->fails > e->config->retries && image->fetched != image->failed_at)
        give_up(range, what);
    pause_image(image, pause, error, what);
}

static void describe_failure(const struct range *range, int error, const struct transfer_result *result, char *what, size_t size)
{
    const char *text = range->why[0] ? range->why : result->message[0] ? result->message : error_text(error);
    if (result->status >= 400)
        refusal_text(result->status, result->document, what, size);
    else
        snprintf(what, size, "%.150s", text);
}

/* What failed by no fault of the endpoint's: it is asked once more at once. Is it? */
static bool asked_at_once(struct range *range, const struct transfer_result *result)
{
    struct image *image = range->image;
    struct engine *e = image->engine;

    if (range->claim.pos > range->asked_pos)
        range->auth_tries = range->streams_lost = range->others = 0;
    if (result->stream_only && range->streams_lost++ < STREAMS_LOST_MAX) {
        image->tried &= ~(1u << range->endpoint);
        log_debug("%s: the server ended a stream (%s); the rest is asked for again", image->name, result->message);
        if (range_again(range) == 0)
            return true;
    }
    struct refusal refusal;
    refusal_note(result, &refusal);
    if (auth_again(e->origin, &refusal, range->credential, &range->auth_tries)) {
        image->tried &= ~(1u << range->endpoint);
        if (range_again(range) == 0)
            return true;
    }
    if (result->status >= 300 && origin_otherwise(e->origin, range->endpoint, range->extras, result, &range->others)) {
        image->tried &= ~(1u << range->endpoint);
        if (range_again(range) == 0)
            return true;
    }
    return false;
}

static void failed(struct range *range, int error, const struct transfer_result *result)
{
    struct image *image = range->image;
    struct engine *e = image->engine;
    unsigned all = origin_all(e->origin);
    char what[160];

    if (asked_at_once(range, result))
        return;
    bool anyhow = error != -ENOTSUP && whole_was_refused(image, result->status);
    if (range->broken < 0 && !image->through) { /* it is not the backend that failed */
        through_failed(range->broken, what, sizeof(what));
        through_start(image, what);
        return;
    }
    describe_failure(range, error, result, what, sizeof(what));
    bool refused = anyhow || (error == -EPROTO && result->status >= 400 && result->status < 500); /* as it will be next time */
    switch (refused ? -EACCES : error) {
    case -ECANCELED: /* the loop ends */
        range_free(range);
        return;
    case -ENOTSUP: /* no Range support */
        fetch_stop_ranges(image);
        return;
    case -ESTALE:
        version_changed(e, image->name);
        fetch_changed(image, what);
        return;
    case VERSION_STRANGER:
        try_again(range, error, what);
        return;
    case -ENOENT:
    case -EACCES:
        image->tried |= 1u << range->endpoint;
        if ((image->tried & all) != all && range_again(range) == 0)
            return;
        fetch_fail(image, -EIO, what);
        return;
    case -ENOSPC:
    case -EDQUOT:
        through_start(image, error == -ENOSPC ? "the disk is full" : "the quota of the disk is used up");
        return;
    case -EFBIG:
    case -EROFS:
    case -EIO:
    case -ENOMEM: {
        char why[IMAGE_ERROR_MAX + 1];
        snprintf(why, sizeof(why), "%s: %s", what, error_text(error));
        fetch_fail(image, -EIO, why);
        return;
    }
    default:
        if (waits_for_room(range, error, result))
            return;
        if (!transfer_error_is_local(error))
            origin_failed(e->origin, range->endpoint, error, what, range->retry_after);
        try_again(range, error, what);
    }
}

void range_ended(struct range *range, int error, const struct transfer_result *result)
{
    if (error == RANGE_NO_CREDENTIAL)
        pause_for_credential(range->image);
    else
        failed(range, error, result);
}
