/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On the hash thread: is all of an image what its digest says? Then the sync thread publishes it; else it is dead, and goes to invalid/.
 */
#include "config-auto.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "engine/images/images.h"
#include "engine/lookup/digests.h"
#include "engine/publish/private.h"

static void mismatch(struct image *image, const struct digest *seen)
{
    struct engine *e = image->engine;
    EFFECTS(fx);

    published_distrust(e); /* before anybody can ask for them again */
    image_lock(image);
    image->hands = HANDS_NONE;
    image_set_error_locked(image, "verification failed: %s is %.24s…, expected %.24s…",
                           digest_algorithm_name(seen->algorithm), seen->hex, image->meta.digest.hex);
    image_died_locked(image, DEATH_ROTTEN, &fx);
    image_changed_locked(image);
    image_unlock(image);
    log_error("%s: %s; it goes to invalid/ and its readers get an error", image->name, image->error);
    ledger_count(e->ledger, COUNT_VERIFY_FAILED, 1);
    image_do(image, &fx);
}

static bool is_guess(const struct image *image)
{
    return image->engine->ops->etag_may_be_md5 && image_meta_digest_is_etag(&image->meta);
}

/* Its etag looks like an MD5 and is none: it is judged by the digest that is published, or else by none. */
static int forget_guess(struct image *image)
{
    struct engine *e = image->engine;
    const struct digest none = {.algorithm = DIGEST_NONE};
    int r = catalogue_set_digest(e->catalogue, image->row, &none);
    if (r < 0 && r != -ENOENT)
        return log_errno(r, "%s: that its etag is no MD5 could not be written to the catalogue", image->name);
    log_notice("%s: its etag %.40s looks like the MD5 of its bytes and is not; it is not verified by that", image->name, image->meta.etag);
    image_lock(image);
    image->meta.digest = none;
    image->digest_settled = true; /* what is published had been asked for before */
    image->hands = HANDS_NONE;
    image_changed_locked(image);
    image_unlock(image);
    return 0;
}

/* On the hash thread: the rest of the digest, a turn at a time, for others wait for theirs; then the comparison. */
static void verify(void *context)
{
    struct image *image = context;
    EFFECTS(fx);
    struct digest seen;

    int r = hasher_turn(image);
    if (r == 1) {
        tasks_add(image->engine->hash, verify, image);
        return;
    }
    if (r == 0)
        r = image->digest == NULL ? -EIO : digest_stream_finish(image->digest, &seen);
    digest_stream_free(image->digest);
    image->digest = NULL;
    image_lock(image);
    image->hashed = 0;
    image_unlock(image);
    if (r == -ECANCELED) { /* we end; the next worker verifies it, and its readers wait for that */
        image_put(image);
        return;
    }
    if (r < 0) {
        log_errno(r, "%s: reading it back to verify it", image->name);
        publish_failed(image);
        image_put(image);
        return;
    }
    if (!digest_equal(&seen, &image->meta.digest)) {
        if (!is_guess(image))
            mismatch(image, &seen);
        else if (forget_guess(image) < 0)
            publish_failed(image);
        image_put(image);
        return;
    }
    image_lock(image);
    image_verified_locked(image, &fx);
    image_unlock_and(image, &fx);
    tasks_add(image->engine->sync, publish_image, image);
}

void verify_start(struct image *image)
{
    struct engine *e = image->engine;
    image->wants_room = false;
    image_ref(image);
    if (image->meta.digest.algorithm == DIGEST_NONE)
        tasks_add(e->sync, publish_image, image);
    else
        tasks_add(e->hash, verify, image);
}
