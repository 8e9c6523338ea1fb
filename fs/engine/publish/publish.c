/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the sync thread: what is whole and verified becomes a complete image.
 *
 * Order on disk: fdatasync, rename into place, sync the directory, then commit.
 */
#include "config-auto.h"

#include <errno.h>

#include "base/log.h"
#include "engine/evict/claim.h"
#include "engine/images/images.h"
#include "engine/publish/private.h"

void publish_failed(struct image *image)
{
    image_lock(image);
    image->hands = HANDS_NONE;
    image->unfinished_at = clock_monotonic();
    image_unlock(image);
    image_give_up(image, -EIO, "it could not be moved into place in the cache directory");
}

/* What the file itself says it is, for the day the catalogue is lost. */
static void label_file(const struct image *image, int fd)
{
    char label[IMAGE_LABEL_MAX];
    image_label_write(&image->meta, label, sizeof(label));
    store_set_label(fd, label); /* where it cannot be kept, the backend is asked instead */
}

/* While its name is claimed: the file of the image before it has gone. */
static int place_file(struct image *image, int fd)
{
    struct engine *e = image->engine;
    int r = store_publish(e->store, image->name, fd);
    if (r < 0) {
        log_errno(r, "%s: renaming it into place", image->name);
    } else {
        r = catalogue_complete(e->catalogue, image->row, &image->meta.digest, clock_now());
        if (r < 0)
            log_errno(r, "%s: committing it to the catalogue", image->name);
    }
    if (r < 0) {
        store_unpublish(e->store, image->name, fd);
        return r;
    }
    store_remove(e->store, STORE_INVALID, image->name);
    return 0;
}

static int publish_file(struct image *image, int fd)
{
    struct engine *e = image->engine;
    int r = image_write_version(image);
    if (r < 0)
        return r;
    label_file(image, fd);
    r = checkpoint_sync_data(image, fd);
    if (r < 0) {
        checkpoint_forsake_disk(image, true);
        return -ECANCELED;
    }
    struct name_claim claim;
    claim_name(e->names, &claim, image->name);
    r = place_file(image, fd);
    claim_end(e->names, &claim);
    return r;
}

static void tell_done(const struct image *image, uint64_t fetched, int64_t began)
{
    double seconds = began ? (double)(clock_monotonic() - began) / (double)NS_PER_S : 0;
    const char *how = image->meta.digest.algorithm ? digest_algorithm_name(image->meta.digest.algorithm) : NULL;
    log_info("%s: cached, %llu bytes, %llu of them fetched in %.1f s, %s%s", image->name, (unsigned long long)image->meta.size,
             (unsigned long long)fetched, seconds, how ? "verified by " : "no digest is known to verify it by", how ? how : "");
}

void publish_image(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;

    int r = publish_file(image, image->file->fd); /* nobody takes the file away while it is finishing */
    if (r < 0) {
        if (r != -ECANCELED) /* else the attendant goes on: the disk did not take it */
            publish_failed(image);
        image_put(image);
        return;
    }
    EFFECTS(fx);
    image_lock(image);
    bool dirty = image->dirty; /* there is nothing left to checkpoint: evicting it must not wait for that */
    image->dirty = false;
    uint64_t fetched = image->fetched;
    int64_t began = image->fetch_began;
    image_completed_locked(image, &fx);
    image_changed_locked(image);
    image_unlock(image);
    ledger_count(e->ledger, COUNT_FETCHES_DONE, 1);
    tell_done(image, fetched, began);
    if (began != 0)
        ledger_measure(e->ledger, DURATION_FETCH, clock_monotonic() - began);
    image_do(image, &fx);
    if (dirty)
        image_put(image); /* the reference that came with being dirty */
    image_put(image);
}
