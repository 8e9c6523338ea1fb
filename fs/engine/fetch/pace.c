/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast an image comes, and over how many connections all of it is fetched. On the fetch thread.
 *
 * A whole fetch begins with one connection, unless that is clearly too little, and is looked at ten times a second: while the rest would
 * take longer than a second it gets more, at once when the last ones helped, else after a while. A server far away needs several to
 * be used well; one nearby, or one that works on one request at a time, would only do the work of a request more often, and hand
 * out the bytes in an order that neither the reader nor the digest can follow.
 */
#include "config-auto.h"

#include "engine/private.h"

enum { LOOK_MS = 100, RATE_BYTES_MIN = 1 << 20, CLEARLY_S = 4, PATIENCE_MS = 500 };

void pace_answered(struct engine *e, int64_t waited)
{
    int64_t wait = atomic_load(&e->wait);
    atomic_store(&e->wait, wait ? (wait * 3 + waited) / 4 : waited);
}

void pace_waited(struct image *image, int64_t waited)
{
    pace_answered(image->engine, waited);
    pthread_mutex_lock(&image->lock);
    image->wait = image->wait ? (image->wait * 3 + waited) / 4 : waited;
    pthread_mutex_unlock(&image->lock);
}

void pace_brought(struct image *image, uint64_t bytes, int64_t took)
{
    if (bytes < RATE_BYTES_MIN || took <= 0)
        return;
    uint64_t rate = (uint64_t)((double)bytes * (double)NS_PER_S / (double)took);
    pthread_mutex_lock(&image->lock);
    image->rate = image->rate ? (image->rate + rate) / 2 : rate;
    pthread_mutex_unlock(&image->lock);
}

unsigned pace_lanes(const struct image *image)
{
    if (image->pace.lanes > 0)
        return image->pace.lanes;
    /* What read-ahead saw of the server is a guess only: small requests, several at a time. */
    bool far = image->rate > 0 && image->meta.size / CLEARLY_S > image->rate;
    return far ? (unsigned)image->engine->config->streams : 1;
}

static void look(void *context)
{
    struct image *image = context;
    struct pace *pace = &image->pace;
    unsigned streams = (unsigned)image->engine->config->streams;
    int64_t now = clock_monotonic();

    pace->timer = NULL;
    pthread_mutex_lock(&image->lock);
    uint64_t present = image->map == NULL ? 0 : chunkmap_present(image->map), fetched = image->fetched;
    pthread_mutex_unlock(&image->lock);
    double speed = (double)(fetched - pace->fetched) / ((double)(now - pace->looked_at) / (double)NS_PER_S);
    bool slow = (double)(image->meta.size - present) > speed;
    bool helped = pace->raised_at == 0 || speed > 1.1 * pace->raised_speed || now - pace->raised_at > PATIENCE_MS * NS_PER_MS;
    if (slow && helped) {
        pace->lanes = pace->lanes * 2 < streams ? pace->lanes * 2 : streams;
        pace->raised_at = now;
        pace->raised_speed = speed;
    }
    pace->looked_at = now;
    pace->fetched = fetched;
    pace_begin(image);
    fetch_schedule(image->engine);
}

void pace_begin(struct image *image)
{
    struct engine *e = image->engine;
    struct pace *pace = &image->pace;
    if (pace->lanes == 0)
        *pace = (struct pace){.lanes = pace_lanes(image), .looked_at = clock_monotonic(), .fetched = image->fetched};
    if (pace->timer == NULL && pace->lanes < e->config->streams && transfers_timer(e->transfers, LOOK_MS, look, image, &pace->timer) < 0)
        pace->lanes = (unsigned)e->config->streams; /* no memory for looking */
}

void pace_end(struct image *image)
{
    if (image->pace.timer != NULL)
        transfers_timer_cancel(image->engine->transfers, image->pace.timer);
    image->pace = (struct pace){0};
}
