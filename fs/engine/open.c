/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: one reference for all handles that the ledger has of a row. */
#include "config-auto.h"

#include <errno.h>

#include "engine/boot.h"
#include "engine/engine.h"
#include "engine/evict/remove.h"
#include "engine/images/images.h"
#include "engine/images/retired.h"

int engine_open(struct engine *e, int64_t row, struct image **ret)
{
    struct image *image;
    int r = image_load(e, row, &image);
    if (r < 0)
        return r;
    image_lock(image);
    bool gone = image->state == IMAGE_RETIRED || image->dead != 0;
    bool passed = image->through && image->unproven && image->shown > 0; /* and cannot be had again, see version.c */
    image_unlock(image);
    if (passed) {
        r = evict_from_name(image);
        image_put(image);
        return r < 0 ? r : -ESTALE;
    }
    if (gone) {
        /* To look the name up again helps once the row of what is dead has been replaced; until then it leads here. */
        struct image_row now;
        bool replaced = catalogue_get(e->catalogue, row, &now) < 0 || now.state == IMAGE_RETIRED;
        image_put(image);
        return replaced ? -ESTALE : -EIO;
    }
    image_keep_open(image);
    boot_record(image);
    /* An empty image is never read from: the kernel knows its end. */
    image_lock(image);
    bool published = image->state != IMAGE_KNOWN && image->state != IMAGE_PARTIAL;
    if (image->meta.size == 0 && !published && !image->whole && image->hands != HANDS_FINISH) {
        image->whole = true;
        image->unfinished_at = 0; /* if it could not be published before: nothing else has that tried again */
        image_changed_locked(image);
    }
    image_unlock(image);
    *ret = image;
    return 0;
}

int engine_get(struct engine *e, int64_t row, struct image **ret)
{
    return image_load(e, row, ret);
}

void engine_put(struct image *image)
{
    image_put(image);
}

void engine_close(struct engine *e, int64_t row)
{
    if (image_close(e, row))
        retired_reap_unused(e);
    else
        retired_reap(e, row);
}

const char *image_name(const struct image *image)
{
    return image->name;
}

uint64_t image_size(struct image *image)
{
    image_lock(image);
    uint64_t size = image->meta.size;
    image_unlock(image);
    return size == IMAGE_SIZE_UNKNOWN ? 0 : size;
}

bool image_is_fresh(struct image *image)
{
    image_lock(image);
    bool begun = image->state == IMAGE_PARTIAL && image->asked == 0 && !image->shown_elsewhere;
    bool fresh = image->state == IMAGE_KNOWN || begun;
    image_unlock(image);
    return fresh;
}

bool image_is_complete(struct image *image)
{
    image_lock(image);
    bool complete = image->state == IMAGE_COMPLETE;
    image_unlock(image);
    return complete;
}
