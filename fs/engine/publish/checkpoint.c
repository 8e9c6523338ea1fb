/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: the sync thread makes bytes durable before the map says that they are here.
 *
 * Order on disk: data, fdatasync, then map.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/images/account.h"
#include "engine/images/images.h"
#include "engine/publish/private.h"

/* ---- what the disk did not take */

int checkpoint_sync_data(struct image *image, int fd)
{
    int r = fdatasync(fd) < 0 ? -errno : 0;
    if (r < 0)
        log_errno(r, "%s: its bytes could not be written to the disk; they are dropped", image->name);
    image_lock(image);
    image->disk_failed = image->disk_failed || r < 0;
    if (r < 0)
        image_untrack_locked(image); /* nor does the next worker believe it */
    r = image->disk_failed ? -EIO : 0;
    image_unlock(image);
    return r;
}

void checkpoint_forsake_disk(struct image *image, bool done)
{
    image_lock(image);
    if (done)
        image->hands = HANDS_NONE;
    image_changed_locked(image);
    image_unlock(image);
}

/* ---- maps */

/* A map whose bytes are on the disk, on its way to the catalogue. Holds the reference that came with being dirty. */
struct map_write {
    struct image *image;
    struct image_file *file; /* that the map is of */
    struct chunkmap *map;
};

/*
 * On the rows thread, as everything that gives a row another file: the map of a file that was dropped meanwhile must not become that of
 * the next one.
 */
static void commit_map(void *context)
{
    struct map_write *w = context;
    struct image *image = w->image;
    size_t length;
    const void *bits = chunkmap_bits(w->map, &length);
    int r = 0;

    image_lock(image);
    bool same = image->file == w->file && image->state == IMAGE_PARTIAL;
    image_unlock(image);
    if (same) {
        r = image_write_version(image); /* a map of bytes of which nobody knows the version is worth nothing */
        if (r == 0)
            r = catalogue_checkpoint(image->engine->catalogue, image->row, bits, length, chunkmap_present(w->map), clock_now());
    }
    if (r < 0 && r != -ESTALE)
        log_errno(r, "%s: a checkpoint failed; what arrived since the last one would be fetched again after a restart", image->name);
    image_lock(image);
    if (same && r == 0 && image->file == w->file && image->state == IMAGE_PARTIAL) { /* else it counts as cached by now */
        space_count(image, -(int64_t)(chunkmap_present(w->map) - image->written), 0);
        image->written = chunkmap_present(w->map);
    } else if (r < 0 && r != -ESTALE) {
        image_dirty_locked(image);
    }
    image_unlock(image);
    image_file_put(w->file);
    chunkmap_free(w->map);
    image_put(image);
    free(w);
}

/* On the sync thread: data, then the map. */
static void checkpoint(struct image *image)
{
    struct map_write w = {.image = image};

    image_lock(image);
    bool dirty = image->dirty && image->hands != HANDS_FINISH;
    bool partial = image->state == IMAGE_PARTIAL && !image->through && image->dead == 0;
    if (dirty && partial && chunkmap_copy(image->map, &w.map) == 0)
        w.file = image_file_ref(image->file);
    if (dirty)
        image->dirty = false;
    image_unlock(image);
    if (!dirty)
        return;
    int r = w.map == NULL ? -ENOMEM : checkpoint_sync_data(image, w.file->fd);
    struct map_write *task = r < 0 ? NULL : malloc(sizeof(*task));
    if (task != NULL) {
        *task = w;
        tasks_add(image->engine->rows, commit_map, task);
        return;
    }
    if (r == -EIO)
        checkpoint_forsake_disk(image, false);
    image_file_put(w.file);
    chunkmap_free(w.map);
    image_put(image); /* the reference that came with being dirty */
}

static void checkpoint_images(struct engine *e)
{
    size_t n;
    struct image **list = images_all(e, &n);
    for (size_t i = 0; i < n; i++) {
        checkpoint(list[i]);
        image_put(list[i]);
    }
    free(list);
}

void checkpoint_all(struct engine *e)
{
    checkpoint_images(e);
    touches_flush(e->touches, e->catalogue);
}

/* What was on its way to be published stays partial, with all its chunks; the next start goes on from there. */
void checkpoint_last(struct engine *e)
{
    size_t n;
    struct image **list = images_all(e, &n);
    for (size_t i = 0; i < n; i++) {
        image_lock(list[i]);
        if (list[i]->hands == HANDS_FINISH)
            list[i]->hands = HANDS_NONE;
        image_unlock(list[i]);
        image_put(list[i]);
    }
    free(list);
    checkpoint_images(e);
    touches_flush(e->touches, e->catalogue);
}
