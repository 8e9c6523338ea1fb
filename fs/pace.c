/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast an image comes, and over how many connections it is fetched. On the fetch thread.
 *
 * A whole fetch begins with one connection, unless that is clearly too little, and gets more while the rest would take longer than a
 * second: a server far away needs several to be used well; one nearby, or one that works on one request at a time, would only do the same work of a request more
 * often, and hand out the bytes in an order that neither the reader nor the digest can follow.
 */
#include "config-auto.h"

#include "engine_private.h"

enum { LOOK_MS = 100, RATE_BYTES_MIN = 1 << 20, CLEARLY_S = 4 };

void pace_note(struct image *image, uint64_t bytes, int64_t waited, int64_t took)
{
    struct engine *e = image->engine;
    int64_t wait = atomic_load(&e->wait);

    pthread_mutex_lock(&image->lock);
    image->wait = image->wait ? (image->wait * 3 + waited) / 4 : waited;
    if (bytes >= RATE_BYTES_MIN && took > 0) {
        uint64_t rate = (uint64_t)((double)bytes * (double)NS_PER_S / (double)took);
        image->rate = image->rate ? (image->rate + rate) / 2 : rate;
    }
    pthread_mutex_unlock(&image->lock);
    atomic_store(&e->wait, wait ? (wait * 3 + waited) / 4 : waited);
}

unsigned pace_lanes(const struct image *image)
{
    if (image->lanes > 0)
        return image->lanes;
    /* What read-ahead saw of the server is a guess only: small requests, several at a time. */
    bool far = image->rate > 0 && image->meta.size / CLEARLY_S > image->rate;
    return far ? (unsigned)image->engine->config->streams : 1;
}

static void look(void *context)
{
    struct image *image = context;
    unsigned streams = (unsigned)image->engine->config->streams;

    image->pace = NULL;
    pthread_mutex_lock(&image->lock);
    uint64_t came = image->fetched - image->paced, present = image->map == NULL ? 0 : chunkmap_present(image->map);
    double seconds = (double)(clock_monotonic() - image->paced_at) / (double)NS_PER_S;
    pthread_mutex_unlock(&image->lock);
    if ((double)(image->meta.size - present) > (double)came / seconds)
        image->lanes = image->lanes * 2 < streams ? image->lanes * 2 : streams;
    pace_begin(image);
    fetch_schedule(image->engine);
}

void pace_begin(struct image *image)
{
    struct engine *e = image->engine;
    if (image->lanes == 0) {
        image->lanes = pace_lanes(image);
        image->paced = image->fetched;
        image->paced_at = clock_monotonic();
    }
    if (image->pace == NULL && image->lanes < e->config->streams &&
        transfers_timer(e->transfers, LOOK_MS, look, image, &image->pace) < 0)
        image->lanes = (unsigned)e->config->streams; /* no memory for looking */
}

void pace_end(struct image *image)
{
    image->lanes = 0;
    if (image->pace != NULL)
        transfers_timer_cancel(image->engine->transfers, image->pace);
    image->pace = NULL;
}
