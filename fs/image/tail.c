/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of an image that is not verified yet: shown to those who peek while much is missing, held back when it is nearly all here.
 *
 *   shown ──all but HOLD_SLACK here or under way──> hiding ──the kernel dropped its pages──> hidden ──verified──> free
 *
 * While it is being hidden readers get what was here before that began, and nothing more.
 */
#include "config-auto.h"

#include <stdlib.h>

#include "image/ahead.h"
#include "image/image.h"

enum { FOLIO_MAX = 2 << 20 }; /* bytes the kernel keeps, and locks, as one */

/* The first byte of the last chunk. */
static uint64_t tail_start(const struct image *image)
{
    uint64_t chunks = chunkmap_chunks(image->map);
    return chunks == 0 ? 0 : (chunks - 1) * chunkmap_chunk_size(image->map);
}

/* Bytes that are neither here nor under way. */
static uint64_t unclaimed(const struct image *image)
{
    uint64_t missing = image->meta.size - chunkmap_present(image->map), busy = 0;
    const struct claim *r;
    TAILQ_FOREACH(r, &image->claims, link) {
        busy += r->end - r->start;
    }
    return missing > busy ? missing - busy : 0;
}

void image_hide_tail_locked(struct image *image, struct effects *fx)
{
    if (!image->tail_shown || image->hiding != NULL || image->state != IMAGE_PARTIAL || unclaimed(image) > HOLD_SLACK)
        return;
    struct hiding *h = malloc(sizeof(*h));
    if (h == NULL)
        return; /* with the next bytes, or the next reader */
    *h = (struct hiding){image->engine, image->row};
    fx->hide = h;
    fx->hidden = (struct span){tail_start(image), image->meta.size};
    image->hiding = h;
    image->tail_shown = false;
    if (!chunkmap_full(image->map)) /* else it was loaded like that, and what readers had is not known */
        chunkmap_copy(image->map, &image->given);
}

bool image_held_locked(struct image *image, uint64_t offset, uint64_t length, struct effects *fx)
{
    if (image->state != IMAGE_PARTIAL || image->verified || image->through)
        return false;
    if (image->digest_settled && image->meta.digest.algorithm == DIGEST_NONE)
        return false;
    uint64_t tail = tail_start(image), end = offset + length;
    if (end > tail && unclaimed(image) > HOLD_SLACK) {
        image->tail_shown = true;
        return false;
    }
    image_hide_tail_locked(image, fx);
    bool arrived_since = image->hiding != NULL && !(image->given != NULL && chunkmap_covers(image->given, offset, length));
    if (end <= tail && !arrived_since)
        return false;
    /* Or the wait might never end: neither for the digest, nor for pages to be dropped of which one is being read by this very reader. */
    if (end > tail / FOLIO_MAX * FOLIO_MAX)
        image->whole = true;
    return true;
}

static void take_waiter(struct image *image, struct waiter *w, int status, struct waiters *out)
{
    w->status = status;
    TAILQ_REMOVE(&image->waiters, w, link);
    TAILQ_INSERT_TAIL(out, w, link);
}

void image_take_ready_locked(struct image *image, int status, struct effects *fx)
{
    struct waiter *w, *next;
    for (w = TAILQ_FIRST(&image->waiters); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);
        if (status == 0) {
            if (!image_available_locked(image, w->offset, w->length) || image_held_locked(image, w->offset, w->length, fx))
                continue;
        }
        image_ahead_read_locked(image, w->offset, w->length);
        take_waiter(image, w, status, &fx->woken);
    }
}

void image_take_those_locked(struct image *image, uint64_t first, uint64_t end, int status, struct effects *fx)
{
    struct waiter *w, *next;
    for (w = TAILQ_FIRST(&image->waiters); w != NULL; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->offset < end && w->offset + w->length > first)
            take_waiter(image, w, status, &fx->woken);
    }
}
