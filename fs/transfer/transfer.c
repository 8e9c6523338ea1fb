/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a transfer: started, its callbacks made, ended or cancelled; and transfer_perform(), which runs one on
 * the caller's thread in a loop of its own.
 *
 * The places a transfer stands in, and why starting and cancelling only move it, see private.h. The loops
 * that transfer_perform() uses belong to the loop it was called with, whose lock protects the lists they stand in.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct transfer_list *list_of(struct transfers *t, enum transfer_place place)
{
    switch (place) {
    case TRANSFER_STARTING:
        return &t->starting;
    case TRANSFER_HTTP:
        return &t->http;
    case TRANSFER_LOCAL:
        return &t->local;
    case TRANSFER_DEAD:
        break;
    }
    return &t->dead;
}

static void move_to(struct transfer *transfer, enum transfer_place place)
{
    TAILQ_REMOVE(list_of(transfer->loop, transfer->place), transfer, link);
    transfer->place = place;
    TAILQ_INSERT_TAIL(list_of(transfer->loop, place), transfer, link);
}

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
    transfer->ops = ops;
    transfer->context = context;
    transfer->head.transfer = transfer;
    transfer->fd = -1;
    transfer->place = TRANSFER_STARTING;
    TAILQ_INSERT_TAIL(&t->starting, transfer, link);
    *ret = transfer;
    return 0;
}

void transfer_cancel(struct transfer *transfer)
{
    assert(transfer->place != TRANSFER_DEAD && transfer->loop->current != transfer);
    if (transfer->loop->gathering == transfer) {
        transfer->loop->gathering = NULL;
    }
    move_to(transfer, TRANSFER_DEAD);
}

void transfer_hold(struct transfer *transfer, bool hold)
{
    transfer->held = hold; /* the loop goes on with one that paused for it */
}

void transfer_set_max_rate(struct transfer *transfer, uint64_t bytes_per_second)
{
    transfer->request.max_rate = bytes_per_second;
    transfer->due = 0;
    transfer_http_set_rate(transfer);
}

/* ---- callbacks */

void transfer_message(struct transfer *transfer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(transfer->result.message, sizeof transfer->result.message, format, arguments);
    va_end(arguments);
}

/* After a callback that returned R. */
static int callback_returned(struct transfer *transfer, int r)
{
    transfer->loop->current = NULL;
    if (r < 0) {
        transfer->error = r;
    }
    return r < 0 ? r : 0;
}

int transfer_give_head(struct transfer *transfer)
{
    assert(!transfer->head_done);
    transfer->head_done = true;
    transfer->result.status = transfer->head.status;
    if (!transfer->ops->on_head) {
        return 0;
    }
    transfer->loop->current = transfer;
    return callback_returned(transfer, transfer->ops->on_head(transfer->context, &transfer->head));
}

int transfer_give_data(struct transfer *transfer, const void *data, size_t length)
{
    assert(transfer->head_done);
    transfer->result.received += length;
    if (!transfer->ops->on_data || length == 0) {
        return 0;
    }
    transfer->loop->current = transfer;
    return callback_returned(transfer, transfer->ops->on_data(transfer->context, &transfer->head, data, length));
}

/* Gives everything back that a transfer holds; it is in no list. */
static void release(struct transfer *transfer)
{
    transfer_http_end(transfer);
    transfer_local_end(transfer);
    transfer_wipe_free(transfer->redirect);
    transfer_request_clear(&transfer->request);
}

/* After its release: what on_done could still look at. */
static void destroy(struct transfer *transfer)
{
    transfer_headers_clear(&transfer->headers);
    free(transfer->document);
    free(transfer);
}

void transfer_finish(struct transfer *transfer, int error)
{
    struct transfers *t = transfer->loop;
    TAILQ_REMOVE(list_of(t, transfer->place), transfer, link);
    release(transfer); /* first: what on_done starts finds a handle in the pool */
    if (transfer->error < 0) {
        error = transfer->error;
    }
    t->last_error = error;
    t->current = transfer;
    transfer->result.head = transfer->result.status > 0 ? &transfer->head : NULL;
    transfer->result.document = transfer->document ? transfer->document : "";
    if (transfer->ops->on_done) {
        transfer->ops->on_done(transfer->context, error, &transfer->result);
    }
    t->current = NULL;
    destroy(transfer);
}

void transfer_count_rate(struct transfer *transfer, size_t length)
{
    uint64_t rate = transfer->request.max_rate;
    if (rate > 0) {
        uint64_t now = transfers_clock_ns(), from = transfer->due > now ? transfer->due : now;
        double ns = (double)length / (double)rate * 1e9;
        transfer->due = from + (ns < 1e18 ? (uint64_t)ns : UINT64_C(1000000000000000000));
    }
}

/* ---- what the loop does with its lists */

void transfers_begin_waiting(struct transfers *t)
{
    struct transfer *transfer;
    while ((transfer = TAILQ_FIRST(&t->starting))) {
        if (transfer->request.path) {
            move_to(transfer, TRANSFER_LOCAL);
            continue;
        }
        move_to(transfer, TRANSFER_HTTP);
        int r = transfer_http_begin(transfer);
        if (r < 0) {
            transfer_finish(transfer, r);
        }
    }
}

void transfers_bury_dead(struct transfers *t)
{
    struct transfer *transfer;
    while ((transfer = TAILQ_FIRST(&t->dead))) {
        TAILQ_REMOVE(&t->dead, transfer, link);
        release(transfer);
        destroy(transfer);
    }
}

void transfers_end_all(struct transfers *t, int error)
{
    const enum transfer_place places[] = {TRANSFER_STARTING, TRANSFER_HTTP, TRANSFER_LOCAL};
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct transfer *transfer;
        while ((transfer = TAILQ_FIRST(list_of(t, places[i])))) {
            transfer_finish(transfer, error);
        }
    }
    transfers_bury_dead(t);
}

bool transfers_empty(const struct transfers *t)
{
    return TAILQ_EMPTY(&t->starting) && TAILQ_EMPTY(&t->http) && TAILQ_EMPTY(&t->local);
}

/* ---- a transfer on the caller's thread */

/* A loop for one transfer_perform() of T, marked as in use. */
static int take_performer(struct transfers *t, struct transfers **ret)
{
    struct transfers *performer = NULL, *fresh = NULL;
    int r = 0;
    pthread_mutex_lock(&t->lock);
    performer = LIST_FIRST(&t->idle_performers);
    if (performer) {
        LIST_REMOVE(performer, performer_link);
        LIST_INSERT_HEAD(&t->performing, performer, performer_link);
        t->idle_performer_count--;
    }
    pthread_mutex_unlock(&t->lock);
    if (!performer) {
        r = transfers_new(t->config, &fresh);
        if (r < 0) {
            return r;
        }
        performer = fresh;
        performer->performer = true;
        pthread_mutex_lock(&t->lock);
        LIST_INSERT_HEAD(&t->performing, performer, performer_link);
        pthread_mutex_unlock(&t->lock);
    }
    *ret = performer;
    return 0;
}

static void give_performer_back(struct transfers *t, struct transfers *performer)
{
    pthread_mutex_lock(&t->lock);
    LIST_REMOVE(performer, performer_link);
    bool keep = t->idle_performer_count < TRANSFER_IDLE_PERFORMERS;
    if (keep) {
        LIST_INSERT_HEAD(&t->idle_performers, performer, performer_link);
        t->idle_performer_count++;
    }
    pthread_mutex_unlock(&t->lock);
    if (!keep) {
        transfers_free(performer);
    }
}

/* One that could not even start ends as any other does. */
static int perform_failed(const struct transfer_ops *ops, void *context, int error)
{
    const struct transfer_result nothing = {0};
    if (ops->on_done) {
        ops->on_done(context, error, &nothing);
    }
    return error;
}

int transfer_perform(struct transfers *t, const struct transfer_request *request, const struct transfer_ops *ops,
                     void *context)
{
    struct transfers *performer;
    struct transfer *transfer;
    int r = take_performer(t, &performer);
    if (r < 0) {
        return perform_failed(ops, context, r);
    }
    r = transfer_start(performer, request, ops, context, &transfer);
    if (r < 0) {
        give_performer_back(t, performer);
        return perform_failed(ops, context, r);
    }
    while (!transfers_empty(performer)) {
        /* The flag of T counts: transfers_stop() wakes whoever performs then, and who comes later sees it here. */
        if (atomic_load(&t->stop)) {
            transfers_end_all(performer, -ECANCELED);
        } else {
            transfers_round(performer);
        }
    }
    r = performer->last_error;
    give_performer_back(t, performer);
    return r;
}
