/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue: images to be fetched whole in the background, oldest first, `prefetch_concurrency` at a time.
 *
 * An entry is a row of the catalogue and stays there until its image is complete, so that it survives restarts. What is under way
 * is in a table by name, too. A failure is tried again with growing pauses; after `prefetch_tries`, or at once when the backend says
 * that there is no such image or that we may not have it, the entry moves to invalid/ with the reason.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/engine.h"
#include "engine/images/images.h"
#include "engine/lookup/lookup.h"
#include "engine/queue.h"

struct prefetch {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
    UT_hash_handle hh; /* engine->queue->by_name; protected by queue->lock */
    int64_t queue_row; /* 0: a second try, not of the queue */
    uint64_t attempts; /* that failed before */
    struct waiter waiter; /* for its look-up, then for all of its image */
    struct image *image;  /* that it waits for; protected by queue->lock */
    int status;
    char error[IMAGE_ERROR_MAX + 1];
};

struct queue {
    pthread_mutex_t lock;
    struct prefetch *by_name; /* entries of the queue under way; protected by lock */
};

int queue_new(struct queue **ret)
{
    struct queue *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    pthread_mutex_init(&q->lock, NULL);
    *ret = q;
    return 0;
}

void queue_free(struct queue *q)
{
    struct prefetch *p, *next;
    if (q == NULL)
        return;
    HASH_ITER(hh, q->by_name, p, next) {
        HASH_DEL(q->by_name, p);
        free(p);
    }
    pthread_mutex_destroy(&q->lock);
    free(q);
}

bool prefetch_is_under_way(struct engine *e, const char *name)
{
    struct prefetch *p;
    pthread_mutex_lock(&e->queue->lock);
    HASH_FIND_STR(e->queue->by_name, name, p);
    pthread_mutex_unlock(&e->queue->lock);
    return p != NULL;
}

static bool is_queued(struct engine *e, const char *name)
{
    struct queue_row row;
    return catalogue_queue_find(e->catalogue, name, &row) != -ENOENT;
}

/* ---- the end of one */

/* On the rows thread. What the queue says of it now. */
static void write_failure(struct prefetch *p)
{
    struct engine *e = p->engine;
    const char *why = p->error[0] ? p->error : error_text(p->status);
    bool final = p->status == -ENOENT || p->status == -EACCES || p->attempts + 1 >= e->config->prefetch_tries;

    if (p->queue_row == 0) {
        log_warning("%s: the second try failed, too: %s", p->name, why);
        return;
    }
    if (!is_queued(e, p->name)) /* taken off meanwhile: nobody wants to know */
        return;
    if (final) {
        log_error("%s: prefetch given up after %llu tries: %s", p->name, (unsigned long long)p->attempts + 1, why);
        struct invalid_row invalid = {.bytes = 0}; /* what did not verify lies there already */
        catalogue_invalid_find(e->catalogue, p->name, &invalid);
        int r = catalogue_invalid_put(e->catalogue, p->name, why, invalid.bytes, clock_now());
        if (r == 0 || r == -EEXIST)
            catalogue_queue_remove(e->catalogue, p->name);
        return;
    }
    uint64_t pause = e->config->prefetch_retry_delay;
    for (uint64_t i = 0; i < p->attempts && pause < 3600; i++)
        pause *= 2;
    log_warning("%s: prefetch failed: %s; next try in %llu s", p->name, why, (unsigned long long)pause);
    int64_t now = clock_now();
    catalogue_queue_failed(e->catalogue, p->queue_row, why, now, now + (int64_t)pause * NS_PER_S);
}

static void end_task(void *context)
{
    struct prefetch *p = context;
    struct engine *e = p->engine;

    if (p->status == 0)
        catalogue_queue_remove(e->catalogue, p->name);
    else if (p->status != -ECANCELED)
        write_failure(p);
    pthread_mutex_lock(&e->queue->lock);
    HASH_DEL(e->queue->by_name, p);
    pthread_mutex_unlock(&e->queue->lock);
    free(p);
    prefetch_tick(e);
}

static void end(struct prefetch *p, int status)
{
    p->status = status;
    tasks_add(p->engine->rows, end_task, p);
}

/* ---- its start */

/* All of its image is here, or why it will not be. Any thread. */
static void whole_ended(struct waiter *w, int status)
{
    struct prefetch *p = (struct prefetch *)((char *)w - offsetof(struct prefetch, waiter));
    struct queue *q = p->engine->queue;
    pthread_mutex_lock(&q->lock);
    struct image *image = p->image;
    p->image = NULL;
    pthread_mutex_unlock(&q->lock);
    image_lock(image);
    memcpy(p->error, image->error, sizeof(p->error));
    image_unlock(image);
    end(p, status);
    image_put(image);
}

/* W does not wait for all of IMAGE any more; fine when it has been told. What is under way ends as usual. */
static void leave_whole(struct image *image, struct waiter *w)
{
    struct waiter *found;
    image_lock(image);
    TAILQ_FOREACH(found, &image->wholes, link) {
        if (found == w)
            break;
    }
    if (found != NULL) {
        TAILQ_REMOVE(&image->wholes, w, link);
        image_changed_locked(image);
    }
    image_unlock(image);
    if (found != NULL)
        w->wake(w, -ECANCELED);
}

/* The image is known: P waits for all of it. On the rows thread, or the caller's of prefetch_start(). */
static void want_whole(struct prefetch *p, int64_t row)
{
    struct engine *e = p->engine;
    struct waiter *w = &p->waiter;
    struct image *image;
    bool queued = p->queue_row != 0;
    struct image_row now;
    int r = image_load(e, row, &image);

    if (r == -ESTALE && catalogue_find(e->catalogue, p->name, &now) == 0) /* there is a new row, see begin_anew() */
        r = image_load(e, row = now.row, &image);
    if (r < 0) {
        end(p, r);
        return;
    }
    w->wake = whole_ended;
    pthread_mutex_lock(&e->queue->lock);
    p->image = image_ref(image);
    pthread_mutex_unlock(&e->queue->lock);
    image_lock(image);
    int ended = image->dead != 0 ? image->dead : image->state == IMAGE_COMPLETE ? 0 : ENGINE_PARKED;
    if (ended == ENGINE_PARKED) {
        TAILQ_INSERT_TAIL(&image->wholes, w, link);
        image_changed_locked(image);
    }
    image_unlock(image); /* P may have ended from here on */
    if (ended != ENGINE_PARKED)
        whole_ended(w, ended);
    else if (queued && !is_queued(e, image->name)) /* taken off meanwhile: who did that found P waiting, or is seen here */
        leave_whole(image, w);
    image_put(image);
}

static void looked_up(struct prefetch *p, int status)
{
    struct image_row row;
    int r = lookup_result(p->engine, p->name, status, &row);
    if (r < 0)
        end(p, r);
    else
        want_whole(p, row.row);
}

static void wake(struct waiter *w, int status)
{
    looked_up((struct prefetch *)((char *)w - offsetof(struct prefetch, waiter)), status);
}

void prefetch_start(struct engine *e, const char *name, int64_t queue_row, uint64_t attempts)
{
    struct prefetch *p = calloc(1, sizeof(*p)), *other;
    struct image_row row;
    if (p == NULL)
        return; /* the next tick tries again */
    p->engine = e;
    p->queue_row = queue_row;
    p->attempts = attempts;
    p->waiter.wake = wake;
    snprintf(p->name, sizeof(p->name), "%s", name);
    pthread_mutex_lock(&e->queue->lock);
    HASH_FIND_STR(e->queue->by_name, name, other);
    if (other == NULL)
        HASH_ADD_STR(e->queue->by_name, name, p);
    pthread_mutex_unlock(&e->queue->lock);
    if (other != NULL) {
        free(p);
        return;
    }
    int r = lookup_name(e, name, &p->waiter, &row);
    if (r == 0)
        want_whole(p, row.row);
    else if (r != ENGINE_PARKED)
        end(p, r);
}

/* ---- the queue */

/* How many more may start now; *RET_BUSY: how many names there are that must be passed over. */
static uint64_t free_places(struct engine *e, size_t *ret_busy)
{
    struct prefetch *p, *next;
    uint64_t n = 0, places = e->config->prefetch_concurrency;
    pthread_mutex_lock(&e->queue->lock);
    HASH_ITER(hh, e->queue->by_name, p, next) {
        n += p->queue_row != 0;
    }
    *ret_busy = HASH_COUNT(e->queue->by_name);
    pthread_mutex_unlock(&e->queue->lock);
    return n >= places || atomic_load(&e->stopping) ? 0 : places - n;
}

void prefetch_tick(struct engine *e)
{
    size_t busy;
    uint64_t places = free_places(e, &busy);
    if (places == 0)
        return;
    size_t max = busy + places; /* those under way are still in the queue */
    struct queue_row *rows = malloc(max * sizeof(*rows));
    int n = rows == NULL ? 0 : catalogue_queue_due(e->catalogue, clock_now(), rows, max);
    for (int i = 0; i < n && places > 0; i++) {
        if (!prefetch_is_under_way(e, rows[i].name))
            prefetch_start(e, rows[i].name, rows[i].row, rows[i].attempts);
        places = free_places(e, &busy);
    }
    free(rows);
}

static void tick_task(void *context)
{
    prefetch_tick(context);
}

void prefetch_kick(struct engine *e)
{
    tasks_add(e->rows, tick_task, e);
}

void prefetch_stop(struct engine *e, const char *name)
{
    struct prefetch *p;
    pthread_mutex_lock(&e->queue->lock);
    HASH_FIND_STR(e->queue->by_name, name, p);
    struct image *image = p == NULL || p->image == NULL ? NULL : image_ref(p->image);
    struct waiter *w = p == NULL ? NULL : &p->waiter;
    pthread_mutex_unlock(&e->queue->lock);
    if (image == NULL)
        return;
    leave_whole(image, w);
    image_put(image);
}

struct once_more {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
};

static void start_again(void *context)
{
    struct once_more *o = context;
    if (!atomic_load(&o->engine->stopping) && !prefetch_is_under_way(o->engine, o->name)) {
        log_notice("%s: fetching it once more from the start", o->name);
        prefetch_start(o->engine, o->name, 0, 0);
    }
    free(o);
}

void queue_again(struct engine *e, const char *name)
{
    struct once_more *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return; /* who opens it next fetches it */
    o->engine = e;
    snprintf(o->name, sizeof(o->name), "%s", name);
    tasks_add(e->rows, start_again, o);
}

/* ---- for the view */

int engine_queue(struct engine *e, const char *name, struct waiter *w, struct queue_row *ret)
{
    struct image_row row;
    if (catalogue_queue_find(e->catalogue, name, ret) == 0)
        return 0;
    int r = lookup_in_a_hurry(e, name, w, &row);
    return r == ENGINE_PARKED ? r : engine_queue_result(e, name, r, ret);
}

int engine_queue_result(struct engine *e, const char *name, int status, struct queue_row *ret)
{
    struct image_row row;
    int r = lookup_result(e, name, status, &row);
    if (r == 0 && row.state == IMAGE_COMPLETE)
        return ENGINE_CACHED;
    if (r == -ENOENT || r == -EACCES || r == -EINTR || r == -ECANCELED)
        return r;
    r = catalogue_queue_add(e->catalogue, name, clock_now(), ret);
    if (r == 0)
        prefetch_kick(e);
    return r;
}

int engine_unqueue(struct engine *e, const char *name)
{
    int r = catalogue_queue_remove(e->catalogue, name);
    if (r == 0)
        prefetch_stop(e, name);
    return r;
}
