/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop of one thread: rounds of posted calls, timers, network and files, with a wait where there is nothing to do.
 *
 * A round ends what was cancelled, begins what was started, lets libcurl work, reads one slice of one local file, and
 * waits in curl_multi_poll(), which transfers_post() and transfers_stop() wake. Only the posts, the stop flag and the
 * lists of performers are shared between threads; the rest is the loop's thread's alone. t->lock is a leaf: no callback
 * is made and nothing is waited for while it is held.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static const struct transfer_driver *const drivers[] = {&transfer_http, &transfer_local};

enum { DRIVERS = sizeof drivers / sizeof *drivers };

static uint64_t clock_ms(void)
{
    return transfers_clock_ns() / 1000000;
}

int transfers_new(const struct config *config, struct transfers **ret)
{
    struct transfers *t = calloc(1, sizeof *t);
    if (!t) {
        return -ENOMEM;
    }
    t->config = config;
    for (size_t i = 0; i < TRANSFER_PLACES; i++) {
        TAILQ_INIT(&t->at[i]);
    }
    TAILQ_INIT(&t->timers);
    STAILQ_INIT(&t->posts);
    LIST_INIT(&t->performing);
    LIST_INIT(&t->idle_performers);
    atomic_init(&t->stop, false);
    pthread_mutex_init(&t->lock, NULL);
    int r = transfer_http_open(t);
    if (r < 0) {
        transfers_free(t);
        return r;
    }
    *ret = t;
    return 0;
}

/* ---- posted calls */

int transfers_post(struct transfers *t, void (*fn)(void *context), void *context)
{
    struct transfer_post *post = malloc(sizeof *post);
    if (!post) {
        return -ENOMEM;
    }
    post->fn = fn;
    post->context = context;
    pthread_mutex_lock(&t->lock);
    bool closed = t->closed;
    /* Else whoever came first has woken the loop; and it looks at what is posted from its own thread before it waits. */
    bool first = STAILQ_EMPTY(&t->posts) && !(t->running && pthread_equal(t->thread, pthread_self()));
    if (!closed) {
        STAILQ_INSERT_TAIL(&t->posts, post, link);
        if (first) {
            curl_multi_wakeup(t->multi); /* under the lock: the loop cannot end and be freed meanwhile */
        }
    }
    pthread_mutex_unlock(&t->lock);
    if (closed) {
        free(post);
    }
    return closed ? -ECANCELED : 0;
}

bool transfers_tell(struct transfers *t, void (*fn)(void *context), void *context)
{
    int r = transfers_post(t, fn, context);
    if (r < 0 && r != -ECANCELED) {
        log_errno(r, "the fetch thread cannot be told what to do; ending, so that a new process can go on");
        abort();
    }
    return r == 0;
}

/* Makes the calls that are queued, not those that they queue. Returns whether there were any. */
static bool run_posts(struct transfers *t)
{
    struct transfer_posts posts = STAILQ_HEAD_INITIALIZER(posts);
    pthread_mutex_lock(&t->lock);
    STAILQ_CONCAT(&posts, &t->posts);
    pthread_mutex_unlock(&t->lock);
    bool any = !STAILQ_EMPTY(&posts);
    struct transfer_post *post;
    while ((post = STAILQ_FIRST(&posts))) {
        STAILQ_REMOVE_HEAD(&posts, link);
        post->fn(post->context);
        free(post);
    }
    return any;
}

/* ---- timers */

int transfers_timer(struct transfers *t, uint64_t ms, void (*fn)(void *context), void *context,
                    struct transfer_timer **ret)
{
    struct transfer_timer *timer = malloc(sizeof *timer);
    if (!timer) {
        return -ENOMEM;
    }
    uint64_t now = clock_ms();
    timer->due = ms < UINT64_MAX - now - 1 ? now + ms + 1 : UINT64_MAX; /* + 1: the clock was rounded down */
    timer->fn = fn;
    timer->context = context;
    struct transfer_timer *before;
    TAILQ_FOREACH_REVERSE(before, &t->timers, transfer_timers, link) { /* most belong near the end */
        if (before->due <= timer->due) {
            break;
        }
    }
    if (before) {
        TAILQ_INSERT_AFTER(&t->timers, before, timer, link);
    } else {
        TAILQ_INSERT_HEAD(&t->timers, timer, link);
    }
    *ret = timer;
    return 0;
}

void transfers_timer_cancel(struct transfers *t, struct transfer_timer *timer)
{
    if (timer) {
        TAILQ_REMOVE(&t->timers, timer, link);
        free(timer);
    }
}

static void run_timers(struct transfers *t)
{
    if (TAILQ_EMPTY(&t->timers)) {
        return;
    }
    uint64_t now = clock_ms();
    struct transfer_timer *timer;
    while ((timer = TAILQ_FIRST(&t->timers)) && timer->due <= now) {
        struct transfer_timer fired = *timer;
        transfers_timer_cancel(t, timer);
        fired.fn(fired.context);
    }
}

/* ---- transfers that begin and end */

static int check_request(const struct transfer_request *request)
{
    if ((request->url != NULL) == (request->path != NULL) || (request->ranged && request->first > request->last)) {
        return -EINVAL;
    }
    if (request->url) {
        return transfer_http_check_url(request->url);
    }
    const char *method = request->method;
    return !method || strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ? 0 : -EINVAL;
}

int transfer_start(struct transfers *t, const struct transfer_request *request, const struct transfer_ops *ops,
                   void *context, struct transfer **ret)
{
    if (t->ending) {
        return -ECANCELED;
    }
    int r = check_request(request);
    if (r < 0) {
        return r;
    }
    struct transfer *transfer = calloc(1, sizeof *transfer);
    if (!transfer) {
        return -ENOMEM;
    }
    r = transfer_request_copy(request, &transfer->request);
    if (r < 0) {
        free(transfer);
        return r;
    }
    transfer->loop = t;
    transfer->driver = request->path ? &transfer_local : &transfer_http;
    transfer->ops = ops;
    transfer->context = context;
    transfer->head.transfer = transfer;
    transfer->fd = -1;
    transfer->place = TRANSFER_STARTING;
    TAILQ_INSERT_TAIL(&t->at[TRANSFER_STARTING], transfer, link);
    *ret = transfer;
    return 0;
}

static void begin_waiting(struct transfers *t)
{
    struct transfer *transfer;
    while ((transfer = TAILQ_FIRST(&t->at[TRANSFER_STARTING]))) {
        transfer_move(transfer, transfer->driver->place);
        int r = transfer->driver->begin(transfer);
        if (r < 0) {
            transfer_finish(transfer, r);
        }
    }
}

static void bury_dead(struct transfers *t)
{
    struct transfer *transfer;
    while ((transfer = TAILQ_FIRST(&t->at[TRANSFER_DEAD]))) {
        TAILQ_REMOVE(&t->at[TRANSFER_DEAD], transfer, link);
        transfer_release(transfer);
    }
}

void transfers_end_all(struct transfers *t, int error)
{
    for (size_t place = 0; place < TRANSFER_DEAD; place++) {
        struct transfer *transfer;
        while ((transfer = TAILQ_FIRST(&t->at[place]))) {
            transfer_finish(transfer, error);
        }
    }
    bury_dead(t);
}

bool transfers_empty(const struct transfers *t)
{
    for (size_t place = 0; place < TRANSFER_DEAD; place++) {
        if (!TAILQ_EMPTY(&t->at[place])) {
            return false;
        }
    }
    return true;
}

/* ---- the loop */

/* Milliseconds until a driver wants to go on by itself; UINT64_MAX: none does. */
static uint64_t time_until_due(const struct transfers *t)
{
    uint64_t due = UINT64_MAX;
    for (size_t i = 0; i < DRIVERS; i++) {
        uint64_t wanted = drivers[i]->due(t);
        due = wanted < due ? wanted : due;
    }
    uint64_t now = due == UINT64_MAX || due == 0 ? 0 : transfers_clock_ns();
    if (due == UINT64_MAX || due <= now) {
        return due == UINT64_MAX ? UINT64_MAX : 0;
    }
    return (due - now + 999999) / 1000000;
}

static bool has_posts(struct transfers *t)
{
    pthread_mutex_lock(&t->lock);
    bool any = !STAILQ_EMPTY(&t->posts);
    pthread_mutex_unlock(&t->lock);
    return any;
}

/* Milliseconds until there is something to do that libcurl does not know of. */
static int time_to_wait(struct transfers *t)
{
    enum { LONGEST = 60 * 1000 };
    if (!TAILQ_EMPTY(&t->at[TRANSFER_STARTING]) || !TAILQ_EMPTY(&t->at[TRANSFER_DEAD]) || atomic_load(&t->stop)) {
        return 0;
    }
    if ((t->performer && transfers_empty(t)) || has_posts(t)) {
        return 0;
    }
    uint64_t wait = time_until_due(t);
    const struct transfer_timer *timer = TAILQ_FIRST(&t->timers);
    if (timer) {
        uint64_t now = clock_ms();
        uint64_t until = timer->due > now ? timer->due - now : 0;
        wait = until < wait ? until : wait;
    }
    return wait < LONGEST ? (int)wait : LONGEST;
}

void transfers_round(struct transfers *t)
{
    run_posts(t);
    run_timers(t);
    bury_dead(t);
    begin_waiting(t);
    for (size_t i = 0; i < DRIVERS; i++) {
        drivers[i]->step(t);
    }
    run_posts(t); /* what the drivers' callbacks had to say */
    if (transfers_empty(t)) {
        free(t->buffer);
        t->buffer = NULL;
    }
    curl_multi_poll(t->multi, NULL, 0, time_to_wait(t), NULL);
}

/* Ends what is there and makes the calls that are queued, until nothing is left; then posts are refused. */
static void wind_up(struct transfers *t)
{
    t->ending = true;
    for (;;) {
        transfers_end_all(t, -ECANCELED);
        if (run_posts(t)) {
            continue;
        }
        pthread_mutex_lock(&t->lock);
        t->closed = STAILQ_EMPTY(&t->posts);
        bool closed = t->closed;
        pthread_mutex_unlock(&t->lock);
        if (closed) {
            return;
        }
    }
}

int transfers_run(struct transfers *t)
{
    pthread_mutex_lock(&t->lock);
    t->thread = pthread_self();
    t->running = true;
    pthread_mutex_unlock(&t->lock);
    while (!atomic_load(&t->stop)) {
        transfers_round(t);
    }
    wind_up(t);
    return 0;
}

void transfers_stop(struct transfers *t)
{
    struct transfers *performer;
    pthread_mutex_lock(&t->lock);
    atomic_store(&t->stop, true);
    curl_multi_wakeup(t->multi);
    LIST_FOREACH(performer, &t->performing, performer_link) {
        curl_multi_wakeup(performer->multi);
    }
    pthread_mutex_unlock(&t->lock);
}

void transfers_free(struct transfers *t)
{
    if (!t) {
        return;
    }
    assert(LIST_EMPTY(&t->performing));
    if (!t->closed) { /* it never ran */
        wind_up(t);
    }
    struct transfers *performer;
    while ((performer = LIST_FIRST(&t->idle_performers))) {
        LIST_REMOVE(performer, performer_link);
        transfers_free(performer);
    }
    struct transfer_timer *timer;
    while ((timer = TAILQ_FIRST(&t->timers))) {
        transfers_timer_cancel(t, timer);
    }
    transfer_http_close(t);
    free(t->buffer);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
