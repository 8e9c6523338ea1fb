/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image gets its file, on the rows thread: room for its first bytes, a row that says so, then the file. Without room, or where the disk does not
 * take it, it goes straight through.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/evict/space.h"
#include "engine/fetch/begin.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/images/account.h"
#include "engine/images/images.h"
#include "engine/lookup/probes.h"

struct beginning {
    struct image *image;
    int status;
    bool no_room;
};

static void began(void *context)
{
    struct beginning *b = context;
    struct image *image = b->image;
    image_lock(image);
    image->hands = HANDS_NONE;
    image_unlock(image);
    /* Where descriptors or memory end there is none to go straight through with either, and the disk is not to blame. */
    bool local = b->status == -ESTALE || transfer_error_is_local(b->status);
    if (b->no_room || (b->status < 0 && !local)) {
        char why[IMAGE_ERROR_MAX / 2];
        through_failed(b->no_room ? -ENOSPC : b->status, why, sizeof(why));
        through_start(image, b->no_room ? "no room can be made in the cache" : why);
    } else if (b->status < 0) {
        char why[IMAGE_ERROR_MAX + 1];
        snprintf(why, sizeof(why), "its file in the cache directory could not be made: %s", error_text(b->status));
        fetch_fail(image, -EIO, why);
    }
    image_changed(image);
    image_put(image);
    free(b);
}

/* The bytes that came with the look-up, when they are whole chunks. */
static void write_probe(struct image *image, int fd, struct chunkmap *map)
{
    size_t length;
    unsigned char *bytes = probe_take(image->engine->probes, image->row, &image->meta, &length);
    if (bytes == NULL)
        return;
    uint64_t chunk = chunkmap_chunk_size(map), size = image->meta.size;
    uint64_t whole = length >= size ? size : length / chunk * chunk;
    if (whole > 0 && pwrite(fd, bytes, whole, 0) == (ssize_t)whole) {
        for (uint64_t c = 0; c * chunk < whole; c++)
            chunkmap_set(map, c);
        ledger_count(image->engine->ledger, COUNT_BYTES_FETCHED, whole);
    }
    free(bytes);
}

/* FIRST bytes are reserved for it; when this fails they still are. */
static int make_file(struct image *image, uint64_t first)
{
    struct engine *e = image->engine;
    char tag[IMAGE_TAG_SIZE];
    int fd;
    store_new_tag(e->store, tag);
    int r = catalogue_begin(e->catalogue, image->row, tag, clock_now());
    if (r == 0)
        r = store_create_partial(e->store, image->name, image->meta.size, tag, &fd);
    if (r < 0)
        return r;
    struct image_file *file = image_file_new(fd);
    struct chunkmap *map = NULL;
    if (file == NULL || (r = chunkmap_new(image->meta.size, &map)) < 0) {
        image_file_put(file);
        return -ENOMEM;
    }
    if (!image->unproven && image->version_known) /* the one stream brings them, too, and may have to go straight through */
        write_probe(image, fd, map);
    EFFECTS(fx);
    image_lock(image);
    image_begun_locked(image, file, map, first, clock_now(), &fx);
    image_track_locked(image);
    image_dirty_locked(image);
    image_unlock_and(image, &fx);
    return 0;
}

/* On the rows thread. */
static void begin(void *context)
{
    struct beginning *b = context;
    struct image *image = b->image;
    uint64_t first = image->meta.size < PROBE_BYTES ? image->meta.size : PROBE_BYTES;
    b->no_room = !space_reserve_first(image, first);
    b->status = b->no_room ? -ENOSPC : make_file(image, first);
    int reloaded = b->status == -ESTALE ? image_reload(image) : -EINVAL;
    /* Neither has the row a file: a change of it that failed left it as it was. */
    if (reloaded == -ESTALE && catalogue_reset(image->engine->catalogue, image->row, IMAGE_COMPLETE) == 0)
        b->status = make_file(image, first);
    else if (b->status == -ESTALE)
        b->status = reloaded;
    if ((b->status < 0 || reloaded == 0) && !b->no_room) {
        image_lock(image);
        space_count(image, -(int64_t)first, -(int64_t)first);
        image_unlock(image);
        if (b->status < 0 && b->status != -ESTALE)
            catalogue_reset(image->engine->catalogue, image->row, IMAGE_PARTIAL);
    }
    if (!transfers_tell(b->image->engine->transfers, began, b)) {
        image_put(b->image);
        free(b);
    }
}

void begin_file(struct image *image)
{
    struct beginning *b = calloc(1, sizeof(*b));
    if (b == NULL) {
        fetch_fail(image, -EIO, "out of memory");
        return;
    }
    version_begin(image);
    b->image = image_ref(image);
    image_lock(image);
    image->hands = HANDS_BEGIN;
    image_unlock(image);
    tasks_add(image->engine->rows, begin, b);
}
