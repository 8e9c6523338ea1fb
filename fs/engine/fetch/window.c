/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The window of an image that goes straight through: chunks that nobody waits for are dropped again, behind the readers. On the fetch thread, the
 * only one that answers readers of such an image, so that nothing is dropped while it is copied.
 */
#include "config-auto.h"

#include <fcntl.h>

#include "engine/fetch/request.h"
#include "engine/fetch/window.h"

/* Does somebody wait for a byte of CHUNK? */
static bool is_wanted_locked(const struct image *image, uint64_t chunk)
{
    uint64_t size = chunkmap_chunk_size(image->map), first = chunk * size;
    const struct waiter *w;
    TAILQ_FOREACH(w, &image->waiters, link) {
        if (w->offset < first + size && w->offset + w->length > first)
            return true;
    }
    return false;
}

/* Not the chunks just ahead of a reader either: they were fetched for it. */
static bool is_ahead_locked(const struct image *image, uint64_t chunk)
{
    uint64_t first = chunk * chunkmap_chunk_size(image->map);
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &image->cursors.place[i];
        if (p->used != 0 && first + chunkmap_chunk_size(image->map) > p->next && first < p->next + p->window)
            return true;
    }
    return false;
}

/*
 * A request under way says that what it received is here, and keeps others from asking for it. So of its bytes the first ones may be
 * dropped, which it then gives up, and none in its middle.
 */
static bool leave_ranges_locked(struct image *image, uint64_t first, uint64_t end)
{
    struct claim *c;
    TAILQ_FOREACH(c, &image->claims, link) {
        bool overlaps = c->start < end && c->end > first;
        if (overlaps && (first > c->start || end > c->pos))
            return false;
    }
    TAILQ_FOREACH(c, &image->claims, link) {
        if (c->start < end && c->end > first)
            c->start = end;
    }
    return true;
}

static void drop_chunks_locked(struct image *image, bool also_ahead)
{
    uint64_t size = chunkmap_chunk_size(image->map), chunks = chunkmap_chunks(image->map);
    for (uint64_t c = chunkmap_next_present(image->map, 0);
         c < chunks && chunkmap_present(image->map) > THROUGH_WINDOW; c = chunkmap_next_present(image->map, c + 1)) {
        if (is_wanted_locked(image, c) || (!also_ahead && is_ahead_locked(image, c)))
            continue;
        if (!leave_ranges_locked(image, c * size, (c + 1) * size))
            continue;
        chunkmap_clear(image->map, c);
        fallocate(image->file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(c * size), (off_t)size);
    }
}

/*
 * Where the server sends the whole image only, what it sends must not run away from its readers, as it would have to be asked for again from
 * the first byte on. So it waits for whoever is the furthest. Does somebody wait for what is BEHIND it, and nobody for more?
 */
bool window_keep_pace_locked(struct image *image)
{
    struct range *stream = range_first(image);
    uint64_t wanted = 0;
    bool behind = false;
    const struct waiter *w;
    TAILQ_FOREACH(w, &image->waiters, link) {
        if (w->offset + w->length > wanted)
            wanted = w->offset + w->length;
        behind = behind || (w->offset < stream->claim.pos && !image_available_locked(image, w->offset, 1));
    }
    bool more = wanted > stream->claim.pos;
    for (int i = 0; i < CURSORS; i++) {
        if (image->cursors.place[i].used != 0 && image->cursors.place[i].next > wanted)
            wanted = image->cursors.place[i].next;
    }
    if (stream->transfer != NULL)
        transfer_hold(stream->transfer, stream->claim.pos > wanted + THROUGH_WINDOW / 4 * 3);
    return behind && !more;
}

void window_trim(struct image *image)
{
    image_lock(image);
    if (image->through && (image->no_range || image->unproven) && !TAILQ_EMPTY(&image->claims) &&
        window_keep_pace_locked(image))
        image_changed_locked(image); /* it is past whoever waits: through_turn_back() */
    if (image->through && chunkmap_present(image->map) > THROUGH_WINDOW) {
        drop_chunks_locked(image, false);
        if (chunkmap_present(image->map) > 2 * THROUGH_WINDOW)
            drop_chunks_locked(image, true);
    }
    image_unlock(image);
}
