/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of images. One is open in passthrough mode (the kernel reads the cached file itself) or in caching mode (the page cache of our
 * inode, filled by reads that come here); which one is the ledger's decision, one for all handles of an inode. No lock of its own.
 */
#include "config-auto.h"

#include "fuse/handles.h"

#include <errno.h>

#include "base/log.h"

/* No handle of ROW is left. */
static void close_image(void *context, int64_t row)
{
    const struct handles *h = context;
    passthrough_close(h->passthrough, row);
    engine_close(h->engine, row);
}

void handles_close(struct handles *h, int64_t row, uint64_t handle)
{
    if (ledger_close_handle(h->ledger, handle, row) == 0)
        close_image(h, row);
}

void handles_drop_orphans(void *context)
{
    struct handles *h = context;
    unsigned n = ledger_drop_orphans(h->ledger, close_image, h);
    if (n > 0)
        log_info("%u images were being opened when the worker before died, by programs that are gone: they are closed", n);
}

/* A handle in the ledger, and with passthrough the id of the file. The mode is decided once for all handles of the inode. */
static int enter(struct handles *h, struct image *image, struct opening *o)
{
    bool want = o->hit && passthrough_wanted(h->passthrough);
    int r = ledger_open_handle(h->ledger, o->row, o->user, o->unique, o->resent, want, &o->handle, &o->passthrough);
    if (r < 0 || !o->passthrough)
        return r;
    struct image_file *file = engine_read_ready(image);
    if (file == NULL)
        r = -ESTALE;
    else
        r = h->passthrough == NULL ? -EIO : passthrough_open(h->passthrough, o->row, o->handle, image_file_fd(file));
    image_file_put(file);
    if (r >= 0) {
        o->backing_id = r;
        o->passthrough = r > 0;
        return 0;
    }
    /* Without an id: caching mode, if nobody has it open in the other one. */
    if (ledger_close_handle(h->ledger, o->handle, o->row) > 0)
        return r;
    r = ledger_open_handle(h->ledger, o->row, o->user, o->unique, false, false, &o->handle, &o->passthrough);
    if (r == 0 && o->passthrough) {
        handles_close(h, o->row, o->handle);
        r = -EIO;
    }
    return r;
}

int handles_open(struct handles *h, struct opening *o)
{
    struct image *image, *before;
    int r = engine_get(h->engine, o->row, &before);
    if (r < 0)
        return r;
    o->hit = image_is_complete(before);
    r = enter(h, before, o);
    if (r < 0) {
        engine_put(before);
        return r;
    }
    /* Entered first, looked at again now: an eviction either sees the handle or is seen here. It stays in memory in between: one that is
     * loaded while there are handles of it has been read by a worker before us. */
    r = engine_open(h->engine, o->row, &image);
    engine_put(before);
    if (r < 0) {
        handles_close(h, o->row, o->handle);
        return r;
    }
    o->fresh = image_is_fresh(image);
    if (!o->uncounted)
        engine_count_open(h->engine, o->row, o->hit, image_size(image));
    engine_put(image);
    return 0;
}
