/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images in memory: only those that somebody has open, that are being fetched, or that an operation looks at just now.
 *
 * The table and the reference counts are under its lock; an image's own state under image->lock. Loading reads the catalogue
 * and opens the file with neither held, then looks again whether another thread was faster.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/bootset/boots.h"
#include "engine/images/account.h"
#include "engine/images/images.h"
#include "engine/images/retired.h"
#include "engine/images/load.h"

struct image_table {
    pthread_mutex_t lock;
    struct image *by_row; /* protected by lock */
    void (*unused)(void *engine);
    struct graves unused_rows; /* protected by lock */
};

int images_new(void (*unused)(void *engine), struct image_table **ret)
{
    struct image_table *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->unused = unused;
    SLIST_INIT(&t->unused_rows);
    pthread_mutex_init(&t->lock, NULL);
    *ret = t;
    return 0;
}

void images_free(struct image_table *t)
{
    struct grave *grave;
    if (t == NULL)
        return;
    while ((grave = SLIST_FIRST(&t->unused_rows)) != NULL) { /* the next start reaps them */
        SLIST_REMOVE_HEAD(&t->unused_rows, link);
        free(grave);
    }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void images_each(struct engine *e, void (*fn)(struct image *image, void *context), void *context)
{
    struct image *image, *next;
    pthread_mutex_lock(&e->images->lock);
    HASH_ITER(hh, e->images->by_row, image, next) {
        fn(image, context);
    }
    pthread_mutex_unlock(&e->images->lock);
}

struct image **images_all(struct engine *e, size_t *ret_count)
{
    size_t n = 0;
    struct image *image, *next;
    pthread_mutex_lock(&e->images->lock);
    struct image **list = calloc(HASH_COUNT(e->images->by_row) + 1, sizeof(struct image *));
    if (list != NULL) {
        HASH_ITER(hh, e->images->by_row, image, next) {
            list[n++] = image_ref(image);
        }
    }
    pthread_mutex_unlock(&e->images->lock);
    *ret_count = n;
    return list;
}

struct image *images_any(struct engine *e)
{
    return e->images->by_row;
}

void image_discard(struct image *image)
{
    HASH_DEL(image->engine->images->by_row, image);
    image_untrack_locked(image);
    image_free(image);
}

static struct image *find_locked(struct engine *e, int64_t row)
{
    struct image *image;
    HASH_FIND(hh, e->images->by_row, &row, sizeof(row), image);
    if (image != NULL)
        image->refs++;
    return image;
}

struct image *image_find(struct engine *e, int64_t row)
{
    pthread_mutex_lock(&e->images->lock);
    struct image *image = find_locked(e, row);
    pthread_mutex_unlock(&e->images->lock);
    return image;
}

bool image_is_loaded(struct engine *e, int64_t row)
{
    struct image *image;
    pthread_mutex_lock(&e->images->lock);
    HASH_FIND(hh, e->images->by_row, &row, sizeof(row), image);
    pthread_mutex_unlock(&e->images->lock);
    return image != NULL;
}

/* What a worker before us fetched beyond the catalogue's map is here, too, and goes to the catalogue with the next checkpoint. */
static void take_arrivals(struct image *image)
{
    struct arrivals *arrivals = image->engine->arrivals;
    size_t length;
    const struct track *track = arrivals_find(arrivals, image->row);
    if (track != NULL) {
        const void *bits = track_bits(track, &length);
        chunkmap_merge(image->map, bits, length); /* what does not fit its size is left out, and fetched again */
    }
    image_track_locked(image);
    uint64_t present = chunkmap_present(image->map);
    if (present > image->written) {
        space_count(image, (int64_t)(present - image->written), 0);
        image_dirty_locked(image);
    }
}

/* Enters NEW, unless another thread was faster. NULL: rows were retired since there were RETIREMENTS, and NEW's may be one of them. */
static struct image *enter(struct engine *e, struct image *new, uint64_t retirements)
{
    pthread_mutex_lock(&e->images->lock);
    struct image *image = find_locked(e, new->row);
    if (image == NULL && atomic_load(&e->retirements) == retirements) {
        image = new;
        atomic_init(&image->refs, 1);
        if (ledger_handles(e->ledger, image->row) > 0) { /* a former worker's handles */
            image->opened = true;
            image->refs++;
        }
        if (image->state == IMAGE_PARTIAL)
            take_arrivals(image);
        HASH_ADD(hh, e->images->by_row, row, sizeof(image->row), image);
        new = NULL;
    }
    pthread_mutex_unlock(&e->images->lock);
    if (new != NULL)
        image_free(new);
    return image;
}

int image_load(struct engine *e, int64_t row, struct image **ret)
{
    struct image *image = image_find(e, row);
    while (image == NULL) {
        struct image_row r;
        uint64_t retirements = atomic_load(&e->retirements);
        int error = catalogue_get(e->catalogue, row, &r);
        if (error == 0)
            error = image_new(e, &r, &image);
        if (error == -EAGAIN) {
            image = image_find(e, row);
            continue;
        }
        if (error < 0)
            return error == -ENOENT ? -ESTALE : error;
        image = enter(e, image, retirements);
    }
    *ret = image;
    return 0;
}

int image_reload(struct image *image)
{
    struct engine *e = image->engine;
    struct image_row row;
    int fd = -1;
    int r = catalogue_get(e->catalogue, image->row, &row);
    if (r == 0 && row.state == IMAGE_COMPLETE)
        r = store_open_image(e->store, STORE_COMPLETE, image->name, &fd);
    else if (r == 0)
        r = row.state == IMAGE_RETIRED ? store_open_retired(e->store, row.row, &fd) : -ESTALE;
    r = image_check_opened(r, fd, &row);
    struct image_file *file = r == 0 ? image_file_new(fd) : NULL;
    if (file == NULL)
        return r == 0 ? -ENOMEM : r == -ENOENT || r == -EBADMSG ? -ESTALE : r;
    EFFECTS(fx);
    image_lock(image);
    image_found_locked(image, file, &row.meta, row.state == IMAGE_COMPLETE, &fx);
    image_unlock_and(image, &fx);
    return 0;
}

void image_track_locked(struct image *image)
{
    size_t length;
    const void *bits = chunkmap_bits(image->map, &length);
    image->track = arrivals_add(image->engine->arrivals, image->row, bits, length);
}

void image_untrack_locked(struct image *image)
{
    track_free(image->engine->arrivals, image->track);
    image->track = NULL;
}

void image_take_over(struct engine *e)
{
    int64_t rows[ARRIVALS_TRACKS];
    size_t n = arrivals_rows(e->arrivals, rows, ARRIVALS_TRACKS);
    for (size_t i = 0; i < n; i++) {
        struct image *image;
        bool taken = false;
        if (image_load(e, rows[i], &image) == 0) {
            taken = image->track != NULL;
            image_put(image); /* in memory until it is in the catalogue */
        }
        if (!taken) /* whole, evicted or gone by now */
            track_free(e->arrivals, arrivals_find(e->arrivals, rows[i]));
    }
}

void image_dirty_locked(struct image *image)
{
    if (!image->dirty)
        image_ref(image);
    image->dirty = true;
}

void image_put(struct image *image)
{
    struct engine *e = image->engine;
    pthread_mutex_lock(&e->images->lock);
    assert(image->refs > 0);
    bool last = atomic_fetch_sub(&image->refs, 1) == 1;
    bool retired = last && (image->state == IMAGE_RETIRED || image->row_retired || image->dead != 0);
    if (last) {
        HASH_DEL(e->images->by_row, image);
        image_untrack_locked(image); /* before another can be loaded from the same row */
    }
    if (retired) {
        image->grave->row = image->row;
        SLIST_INSERT_HEAD(&e->images->unused_rows, image->grave, link);
        image->grave = NULL;
    }
    pthread_mutex_unlock(&e->images->lock);
    if (!last)
        return;
    space_count(image, -image->unwritten, 0);
    image_free(image);
    if (retired)
        e->images->unused(e);
}

bool images_take_unused(struct engine *e, int64_t *ret_row)
{
    pthread_mutex_lock(&e->images->lock);
    struct grave *grave = SLIST_FIRST(&e->images->unused_rows);
    if (grave != NULL)
        SLIST_REMOVE_HEAD(&e->images->unused_rows, link);
    pthread_mutex_unlock(&e->images->lock);
    if (grave == NULL)
        return false;
    *ret_row = grave->row;
    free(grave);
    return true;
}

void image_keep_open(struct image *image)
{
    struct engine *e = image->engine;
    pthread_mutex_lock(&e->images->lock);
    if (!image->opened) {
        image->opened = true;
        image->refs++;
    }
    pthread_mutex_unlock(&e->images->lock);
}

bool image_close(struct engine *e, int64_t row)
{
    struct image *image;
    pthread_mutex_lock(&e->images->lock);
    HASH_FIND(hh, e->images->by_row, &row, sizeof(row), image);
    /* Another open may have come meanwhile; then it keeps the reference. */
    if (image != NULL && (!image->opened || ledger_handles(e->ledger, row) > 0))
        image = NULL;
    if (image != NULL)
        image->opened = false;
    pthread_mutex_unlock(&e->images->lock);
    if (image == NULL)
        return false;
    image_lock(image);
    boot_closed(image->boot, true);
    if (image->through) /* what is under way for it waits for its readers */
        image_changed_locked(image);
    image_unlock(image);
    image_put(image);
    return true;
}
