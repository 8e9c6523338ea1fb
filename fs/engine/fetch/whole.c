/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can the server of an image send parts of it? On the fetch thread.
 *
 *     unknown ──206──> they work
 *        │ ──200 to a request for a part──> none: one stream from the start serves everybody
 *        └──refused with a status that may be about the range──> doubted: asked without one
 *                      doubted ──200──> none           doubted ──refused, too──> blameless (until the fetch fails, then unknown)
 *
 * What a server says to a range that it cannot do is not agreed on: Glance with most of its stores answers 400, others 403, 416, 501 or
 * nothing at all (204). Only the same request without the range tells whether it was about that.
 */
#include "config-auto.h"

#include "base/log.h"
#include "engine/fetch/whole.h"

bool whole_is_suspected(struct range *range, const struct transfer_head *head)
{
    struct image *image = range->image;
    bool of_other_size = head->ranged && head->total != TRANSFER_LENGTH_UNKNOWN && head->total != image->meta.size;
    if (head->status == 206 && image->parts == PARTS_UNKNOWN)
        image->parts = PARTS_WORK;
    if (image->parts != PARTS_UNKNOWN || !backend_may_refuse_range(head->status) || of_other_size)
        return false;
    log_info("%s: the backend answered %d to a request for a part of it; asking without a range", image->name, head->status);
    image->parts = PARTS_DOUBTED;
    image->no_range = true;
    return true;
}

void whole_proved(struct range *range)
{
    struct image *image = range->image;
    if (image->parts == PARTS_NONE)
        return;
    image->parts = PARTS_NONE;
    image->no_range = true;
    origin_sends_whole(image->engine->origin, range->endpoint, image->name);
}

bool whole_was_refused(struct image *image, int status)
{
    if (image->parts != PARTS_DOUBTED || !backend_may_refuse_range(status))
        return false;
    image->parts = PARTS_BLAMELESS;
    image->no_range = false;
    return true;
}
