/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads: answered at once when the bytes are here, else parked on the image until the fetch thread has them.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>

#include "engine/bootset/boots.h"
#include "engine/engine.h"
#include "engine/fetch/choose.h"
#include "image/ahead.h"
#include "engine/images/images.h"
#include "engine/lookup/listing.h"
#include "engine/lookup/lookup.h"

/* Is there something to start for the reader at cursor P beyond its own bytes? */
static bool wants_ahead_locked(const struct image *image, const struct cursor *p)
{
    struct span busy[CHOOSE_BUSY_MAX], gap;
    size_t count = 0;
    const struct claim *c;

    struct choice how = {.through = image->through, .worth = image->worth, .unread = image_ahead_unread_locked(image),
                         .unread_most = image_ahead_most_locked(image)};
    uint64_t window = choose_window(&how, p);
    if (image_wants_all_locked(image) || window == 0)
        return false;
    TAILQ_FOREACH(c, &image->claims, link) {
        busy[count++] = (struct span){c->start, c->end};
    }
    return plan_gap(image->map, busy, count, p->next, p->next + window, window, &gap) && gap.first <= p->next + window / 2;
}

/*
 * What a stream has read lies in memory twice, in the page cache of our inode and in that of the store's file. The first copy is dropped
 * behind it: who reads there again (another reader, later) gets it from the second. So a cold read takes no more memory than a download,
 * and the pages that it fills are ones that were just in use.
 */
static void drop_behind_locked(struct image *image, const struct cursor *p)
{
    uint64_t offset, length = image->through ? 0 : cursors_behind(&image->cursors, p, &offset);
    if (length > 0)
        teller_behind(image->engine->teller, image->row, offset, length);
}

/* Notes the read for read-ahead and the whole fetch. Is there work for the fetch thread? */
static bool note_read_locked(struct image *image, uint64_t offset, uint64_t length)
{
    const struct config *config = image->engine->config;
    int64_t wait = image->wait ? image->wait : origin_wait(image->engine->origin);
    uint64_t window = plan_window(wait, CURSOR_WINDOW_MIN, CURSOR_WINDOW_FIRST);
    const struct cursor *p = cursors_note(&image->cursors, offset, length, window, config->read_ahead_max);

    drop_behind_locked(image, p);
    bool first = image->asked == 0;
    image->asked += length;
    boot_note(image->boot, offset, length);
    if (config->fetch_policy == FETCH_WHOLE && !image->whole && !image->through && image->asked >= config->fetch_whole_after) {
        image->whole = true;
        return true;
    }
    return (first && boot_replays(image->boot)) || (image->map != NULL && wants_ahead_locked(image, p));
}

int engine_read(struct image *image, uint64_t offset, uint64_t length, struct waiter *w, struct image_file **ret_file, uint64_t *ret_length)
{
    int r = 0;
    EFFECTS(fx);

    image_lock(image);
    uint64_t size = image->meta.size;
    length = offset >= size ? 0 : length < size - offset ? length : size - offset;
    *ret_length = length;
    *ret_file = NULL;
    if (image->dead != 0) {
        r = image->dead;
    } else if (length == 0) {
        r = 0;
    } else if (image->state == IMAGE_COMPLETE || image->state == IMAGE_RETIRED) {
        drop_behind_locked(image, cursors_note(&image->cursors, offset, length, 0, 0));
        boot_note(image->boot, offset, length);
        *ret_file = image_file_ref(image->file);
        r = ENGINE_CACHED;
    } else {
        bool visit = note_read_locked(image, offset, length) || image_may_finish_locked(image);
        bool whole = image->whole;
        bool here = image->state == IMAGE_PARTIAL && !image->through && image_available_locked(image, offset, length);
        if (here && !image_held_locked(image, offset, length, &fx)) {
            image_ahead_read_locked(image, offset, length);
            *ret_file = image_file_ref(image->file);
        } else if (atomic_load(&w->interrupted)) {
            r = -EINTR;
        } else {
            w->offset = offset;
            w->length = length;
            TAILQ_INSERT_TAIL(&image->waiters, w, link);
            image_ref(image); /* the reader's own may be given back before we are done here */
            image->parked++;
            r = ENGINE_PARKED;
            visit = visit || !here || image->whole != whole;
        }
        if (visit)
            image_changed_locked(image);
    }
    image_unlock_and(image, &fx);
    if (r == ENGINE_PARKED)
        image_put(image);
    return r;
}

struct image_file *engine_read_ready(struct image *image)
{
    image_lock(image);
    struct image_file *file = image->file == NULL ? NULL : image_file_ref(image->file);
    image_unlock(image);
    return file;
}

/* ---- interrupts */

static void take_interrupted(struct image *image, void *context)
{
    image_lock(image);
    waiters_take_interrupted(&image->waiters, context);
    image_unlock(image);
}

/* On the fetch thread. Interrupts are rare, so that looking at everything costs less than keeping track would. */
static void sweep(void *context)
{
    struct engine *e = context;
    struct waiters out = TAILQ_HEAD_INITIALIZER(out);

    images_each(e, take_interrupted, &out);
    lookup_take_interrupted(e, &out);
    listing_take_interrupted(e, &out);
    wake_all(&out);
}

void engine_interrupt(struct engine *e, struct waiter *w)
{
    atomic_store(&w->interrupted, true);
    transfers_tell(e->transfers, sweep, e);
}
