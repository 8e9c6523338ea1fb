/* SPDX-License-Identifier: Apache-2.0 */
/* How many connections the fetch of all of an image uses: pace.c is asked, by a timer. On the fetch thread. */
#include "config-auto.h"

#include "engine/private.h"

unsigned lanes_of(const struct image *image)
{
    unsigned streams = (unsigned)image->engine->config->streams;
    return image->pace.lanes > 0 ? image->pace.lanes : pace_first(image->rate, image->meta.size, streams);
}

static void look(void *context)
{
    struct image *image = context;

    image->lanes_timer = NULL;
    pthread_mutex_lock(&image->lock);
    uint64_t present = image->map == NULL ? 0 : chunkmap_present(image->map), fetched = image->fetched;
    pthread_mutex_unlock(&image->lock);
    pace_look(&image->pace, clock_monotonic(), fetched, image->meta.size - present, (unsigned)image->engine->config->streams);
    lanes_begin(image);
    fetch_schedule(image->engine);
}

void lanes_begin(struct image *image)
{
    struct engine *e = image->engine;
    struct pace *pace = &image->pace;
    if (pace->lanes == 0)
        *pace = (struct pace){.lanes = lanes_of(image), .looked_at = clock_monotonic(), .fetched = image->fetched};
    if (image->lanes_timer == NULL && pace->lanes < e->config->streams &&
        transfers_timer(e->transfers, PACE_LOOK_MS, look, image, &image->lanes_timer) < 0)
        pace->lanes = (unsigned)e->config->streams; /* no memory for looking */
}

void lanes_end(struct image *image)
{
    if (image->lanes_timer != NULL)
        transfers_timer_cancel(image->engine->transfers, image->lanes_timer);
    image->lanes_timer = NULL;
    image->pace = (struct pace){0};
}
