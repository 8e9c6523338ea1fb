/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Straight through: an image that finds no room in the cache (it is larger than the limit, everything else is open, the disk is full) is
 * still read, byte for byte, without being kept.
 *
 * Its file is memory (a memfd) that holds a window of chunks at a time: when more than THROUGH_WINDOW are here, the oldest that nobody
 * waits for are dropped again. A chunk may only be dropped while nobody copies from it; so a read of such an image is always parked, and
 * answering and dropping both happen on the fetch thread. What the kernel's page cache took stays readable there.
 *
 * Everything else is as for other images: single flight, read-ahead, retries, the version check. There is no whole fetch, and no digest
 * can be checked. After THROUGH_PAUSE_S without a reader waiting, the image is tried the normal way again.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/evict/space.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/request.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/images/account.h"
#include "engine/images/images.h"
#include "engine/queue.h"

enum { THROUGH_WINDOW = 8 << 20, THROUGH_PAUSE_S = 60 };

/*
 * On the rows thread: the bytes that were kept so far go; the disk may need them more. Also when the catalogue cannot be told because it is
 * full: a row whose file is gone is known again as soon as somebody looks.
 */
static void forget_kept(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    struct image_row row;
    int r = catalogue_get(e->catalogue, image->row, &row);
    /* Where not even a row can be written, the bytes must go first: should we end in between, the next start finds the row without a file. */
    if (r == 0 && row.state == IMAGE_PARTIAL) {
        store_remove(e->store, STORE_PARTIAL, image->name);
        r = catalogue_reset(e->catalogue, image->row, IMAGE_PARTIAL);
        if (r < 0 && r != -ESTALE)
            log_errno(r, "%s: its bytes are gone, but the catalogue cannot be told before the next start", image->name);
    }
    prefetch_done(image, -ENOSPC);
    image_put(image);
}

static int open_memory(uint64_t size, struct image_file **ret)
{
    int fd = memfd_create("glance-cache-fs-through", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    *ret = image_file_new(fd);
    return *ret == NULL ? -ENOMEM : 0;
}

void through_failed(int error, char *why, size_t size)
{
    if (error == -ENOSPC)
        snprintf(why, size, "the disk is full");
    else if (error == -EDQUOT)
        snprintf(why, size, "the quota of the disk is used up");
    else
        snprintf(why, size, "the cache directory does not take it: %s", error_text(error));
}

static void give_up(struct image *image, int status, const char *why, const char *what)
{
    char text[IMAGE_ERROR_MAX + 1];
    snprintf(text, sizeof(text), "%s, and %s", why, what);
    fetch_fail(image, status, text);
}

void through_start(struct image *image, const char *why)
{
    struct image_file *file = NULL, *old;
    struct chunkmap *map = NULL, *old_map;

    pthread_mutex_lock(&image->lock);
    bool finishing = image->finishing; /* it has all of its bytes, and its file is not ours to take */
    pthread_mutex_unlock(&image->lock);
    if (image->through || finishing)
        return;
    fetch_stop_ranges(image);
    version_begin(image);
    int r = chunkmap_new(image->meta.size, &map);
    /* A chunk is the least that can be dropped: with larger ones the window would have no bound. */
    if (r == 0 && chunkmap_chunk_size(map) > THROUGH_WINDOW) {
        chunkmap_free(map);
        give_up(image, -EFBIG, why, "it is too large to be passed through");
        return;
    }
    if (r == 0)
        r = open_memory(image->meta.size, &file);
    if (r < 0) {
        chunkmap_free(map);
        char what[IMAGE_ERROR_MAX / 2];
        snprintf(what, sizeof(what), "it cannot be passed through: %s", error_text(r));
        give_up(image, -EIO, why, what);
        return;
    }
    pthread_mutex_lock(&image->lock);
    space_count(image, -image->unwritten, 0);
    old = image->file;
    old_map = image->map;
    image_untrack_locked(image);
    image->file = file;
    image->map = map;
    image->state = IMAGE_PARTIAL;
    image->through = true;
    image_forget_shown_locked(image);
    image->whole = false;
    image->hashed = 0;
    image->verified = false;
    image->written = 0;
    image_set_error_locked(image, "not kept: %s", why);
    pthread_mutex_unlock(&image->lock);
    image->through_since = clock_monotonic();
    image->wants_room = false;
    image_file_put(old);
    chunkmap_free(old_map);
    log_notice("%s: %s; it is served straight through and not kept", image->name, why);
    tasks_add(image->engine->rows, forget_kept, image_ref(image));
    fetch_attend(image);
}

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
static bool keep_pace_locked(struct image *image, struct range *stream)
{
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

/* Whoever was there first wants bytes again that were dropped; or nobody is there any more, and it would wait for ever. */
void through_turn_back(struct image *image)
{
    if (!image->through || !(image->no_range || image->unproven) || TAILQ_EMPTY(&image->claims))
        return;
    pthread_mutex_lock(&image->lock);
    bool behind = keep_pace_locked(image, range_first(image));
    pthread_mutex_unlock(&image->lock);
    if (behind || ledger_handles(image->engine->ledger, image->row) == 0)
        fetch_stop_ranges(image);
}

/* On the fetch thread, the only one that answers readers of such an image. */
void through_trim(struct image *image)
{
    pthread_mutex_lock(&image->lock);
    if (image->through && (image->no_range || image->unproven) && !TAILQ_EMPTY(&image->claims) &&
        keep_pace_locked(image, range_first(image)))
        image_changed_locked(image); /* it is past whoever waits: through_turn_back() */
    if (image->through && chunkmap_present(image->map) > THROUGH_WINDOW) {
        drop_chunks_locked(image, false);
        if (chunkmap_present(image->map) > 2 * THROUGH_WINDOW)
            drop_chunks_locked(image, true);
    }
    pthread_mutex_unlock(&image->lock);
}

void through_leave(struct image *image)
{
    struct engine *e = image->engine;
    if (!image->through || clock_monotonic() - image->through_since < THROUGH_PAUSE_S * NS_PER_S ||
        !space_can_hold(e, image->meta.size))
        return;
    pthread_mutex_lock(&image->lock);
    bool idle = TAILQ_EMPTY(&image->claims) && !image->row_retired;
    struct image_file *file = NULL;
    struct chunkmap *map = NULL;
    if (idle) {
        file = image->file;
        map = image->map;
        image->file = NULL;
        image->map = NULL;
        image->state = IMAGE_KNOWN;
        image->through = false;
        image_forget_shown_locked(image);
    }
    pthread_mutex_unlock(&image->lock);
    image_file_put(file);
    chunkmap_free(map);
}
