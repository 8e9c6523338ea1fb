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
#include "engine/evict/remove.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/fetch/through.h"
#include "engine/fetch/version.h"
#include "engine/fetch/window.h"
#include "engine/images/images.h"

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
    struct image_file *file = NULL;
    struct chunkmap *map = NULL;

    image_lock(image);
    bool finishing = image->hands == HANDS_FINISH; /* it has all of its bytes, and its file is not ours to take */
    image_unlock(image);
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
    EFFECTS(fx);
    image_lock(image);
    image_passed_locked(image, file, map, why, &fx);
    image->through_since = clock_monotonic();
    image->wants_room = false;
    image_unlock_and(image, &fx);
    log_notice("%s: %s; it is served straight through and not kept", image->name, why);
    evict_kept(image);
    image_changed(image);
}

/* Whoever was there first wants bytes again that were dropped; or nobody is there any more, and it would wait for ever. */
void through_turn_back(struct image *image)
{
    if (!image->through || !(image->no_range || image->unproven) || TAILQ_EMPTY(&image->claims))
        return;
    image_lock(image);
    bool behind = window_keep_pace_locked(image);
    image_unlock(image);
    if (behind || ledger_handles(image->engine->ledger, image->row) == 0)
        fetch_stop_ranges(image);
}

void through_leave(struct image *image)
{
    EFFECTS(fx);
    image_lock(image);
    if (TAILQ_EMPTY(&image->claims) && !image->row_retired)
        image_reset_locked(image, &fx);
    image_changed_locked(image);
    image_unlock_and(image, &fx);
}
