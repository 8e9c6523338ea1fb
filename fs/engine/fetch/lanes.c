/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections the fetch of all of an image uses: pace.c is asked, by a timer. On the fetch thread. */
#include "config-auto.h"

#include <stdlib.h>

#include "engine/fetch/lanes.h"
#include "engine/fetch/pace.h"

struct lanes {
    struct pace pace;
    struct transfer_timer *timer;
};

unsigned lanes_of(const struct image *image)
{
    unsigned streams = (unsigned)image->engine->config->streams;
    return image->lanes != NULL ? image->lanes->pace.lanes : pace_first(image->rate, image->meta.size, streams);
}

static void look(void *context)
{
    struct image *image = context;

    image->lanes->timer = NULL;
    image_lock(image);
    uint64_t present = image->map == NULL ? 0 : chunkmap_present(image->map), fetched = image->fetched;
    image_unlock(image);
    pace_look(&image->lanes->pace, clock_monotonic(), fetched, image->meta.size - present, (unsigned)image->engine->config->streams);
    lanes_begin(image);
    image_changed(image);
}

void lanes_begin(struct image *image)
{
    struct engine *e = image->engine;
    struct lanes *l = image->lanes;
    if (l == NULL && (l = calloc(1, sizeof(*l))) != NULL) {
        l->pace = (struct pace){.lanes = lanes_of(image), .looked_at = clock_monotonic(), .fetched = image->fetched};
        image->lanes = l;
    }
    if (l != NULL && l->timer == NULL && l->pace.lanes < e->config->streams &&
        transfers_timer(e->transfers, PACE_LOOK_MS, look, image, &l->timer) < 0)
        l->pace.lanes = (unsigned)e->config->streams; /* no memory for looking */
}

void lanes_end(struct image *image)
{
    if (image->lanes != NULL && image->lanes->timer != NULL)
        transfers_timer_cancel(image->engine->transfers, image->lanes->timer);
    free(image->lanes);
    image->lanes = NULL;
}
