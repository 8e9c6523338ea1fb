/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include <errno.h>

#include "base/clock.h"
#include "image/due.h"

enum { HASH_STEP = 1 << 20 };

static bool is_filling(const struct image *image)
{
    return image->state == IMAGE_PARTIAL && image->dead == 0 && !image->through;
}

/* Whoever wants all of it is told, wherever it came to that: a place in the queue would be taken for ever. */
static void answer_wholes(struct image *image, struct effects *fx)
{
    int status = image_whole_status_locked(image);
    if (status <= 0)
        image_take_wholes_locked(image, status, fx);
}

/* Who wants its bytes dropped is told that they cannot be. Who does not mind has what becomes complete evicted. */
static void refuse_drop(struct image *image, int status, struct effects *fx)
{
    if (image->drop_any)
        image->unwanted = image->hands == HANDS_FINISH || image->state == IMAGE_COMPLETE;
    image->dropper->status = image->drop_any ? 0 : status;
    TAILQ_INSERT_TAIL(&fx->woken, image->dropper, link);
    image->dropper = NULL;
}

static bool drop_is_due(struct image *image, struct effects *fx)
{
    if (image->dropper == NULL || image->hands == HANDS_DROP)
        return false;
    if (image->hands == HANDS_NONE && is_filling(image))
        return true;
    refuse_drop(image, image->hands == HANDS_FINISH || image->hands == HANDS_BEGIN ? -EBUSY : -ENOENT, fx);
    return false;
}

bool image_hash_due_locked(const struct image *image)
{
    if (image->hashing || image->hands == HANDS_FINISH || !is_filling(image) || !image->digest_settled ||
        image->meta.digest.algorithm == DIGEST_NONE)
        return false;
    return chunkmap_prefix(image->map) - image->hashed >= HASH_STEP;
}

/* What comes beside anything else. */
static unsigned also_due(struct image *image, int64_t now)
{
    unsigned due = 0;
    if (image->through)
        due |= DUE_TRIM;
    if (image->through && now - image->through_since >= THROUGH_PAUSE_S * NS_PER_S && TAILQ_EMPTY(&image->claims) && !image->row_retired)
        due |= DUE_KEEP;
    if (is_filling(image) && !image->digest_settled && !image->digest_asked) {
        image->digest_asked = true;
        due |= DUE_DIGEST;
    }
    if (image_hash_due_locked(image)) {
        image->hashing = true;
        due |= DUE_HASH;
    }
    if (image->unwanted && image->state == IMAGE_COMPLETE) {
        image->unwanted = false;
        due |= DUE_EVICT;
    }
    if (image->again && image->row_retired) {
        image->again = false;
        due |= DUE_AGAIN;
    }
    return due;
}

static unsigned take(struct image *image, enum image_hands hands, unsigned due)
{
    image->hands = hands;
    return due;
}

unsigned image_due_locked(struct image *image, int64_t now, bool replays, struct effects *fx)
{
    bool drop = drop_is_due(image, fx), free = image->hands == HANDS_NONE, dead = image->dead != 0;
    if (image->through)
        image->whole = false;
    answer_wholes(image, fx);
    unsigned also = also_due(image, now);

    if (image->failure != 0)
        return also | DUE_FAIL;
    if (dead && free && !image->row_retired)
        return also | take(image, HANDS_REPLACE, DUE_REPLACE);
    if (dead || image->state == IMAGE_COMPLETE || image->state == IMAGE_RETIRED)
        return also | DUE_LEAVE;
    if (drop)
        return also | take(image, HANDS_DROP, DUE_DROP);
    if (free && image->disk_failed && is_filling(image))
        return also | DUE_PASS;
    if (image_may_finish_locked(image))
        return also | take(image, HANDS_FINISH, DUE_FINISH);
    if (!free)
        return also;
    if (is_filling(image) && image->digest_settled && chunkmap_full(image->map))
        image->whole = false; /* there is nothing to fetch; a later read has it published */
    bool wanted = image_wants_all_locked(image) || !TAILQ_EMPTY(&image->waiters) || replays;
    if (image->state == IMAGE_KNOWN)
        return also | (wanted ? DUE_BEGIN | DUE_FETCH : 0);
    return also | DUE_FETCH;
}
