/* SPDX-License-Identifier: Apache-2.0 */
/* A limited rate (background_rate): requests that nobody waits for share it; one that somebody comes to wait for is freed of it. And how long answers take. */
#include "config-auto.h"

#include "engine/fetch/pace.h"
#include "engine/fetch/private.h"
#include "engine/fetch/request.h"

/* Does somebody wait for bytes of RANGE? All of an image are waited for by who waits for its digest. */
bool range_is_awaited(const struct range *range)
{
    struct image *image = range->image;
    const struct waiter *w;
    bool awaited = false;
    image_lock(image);
    TAILQ_FOREACH(w, &image->waiters, link) {
        awaited = awaited || (w->offset < range->claim.end && w->offset + w->length > range->claim.pos) ||
                  image_available_locked(image, w->offset, w->length);
    }
    image_unlock(image);
    return awaited;
}

/* From here on it is as fast as it can be; what is left of the rate is the others'. */
void range_uncap(struct range *range)
{
    range->capped = false;
    range->image->engine->fetch->capped--;
    if (range->transfer != NULL)
        transfer_set_max_rate(range->transfer, 0);
}

void range_hurry(struct image *image)
{
    for (struct range *range = range_first(image); range != NULL; range = range_next(range)) {
        if (range->capped && range_is_awaited(range))
            range_uncap(range);
    }
}

void range_waited(struct image *image, int64_t waited)
{
    origin_waited(image->engine->origin, waited);
    reach_waited(&image->engine->fetch->reach, waited);
    late_note(&image->engine->fetch->late, waited);
    image_lock(image);
    image->wait = pace_wait(image->wait, waited);
    image_unlock(image);
}
