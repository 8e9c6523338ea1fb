/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a transfer: its callbacks, its cancelling, its end. Which way its bytes come only its driver knows.
 *
 * The places a transfer stands in, and why starting and cancelling only move it, see private.h. Everything runs on the
 * loop's thread; no lock.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

void transfer_move(struct transfer *transfer, enum transfer_place place)
{
    TAILQ_REMOVE(&transfer->loop->at[transfer->place], transfer, link);
    transfer->place = place;
    TAILQ_INSERT_TAIL(&transfer->loop->at[place], transfer, link);
}

void transfer_cancel(struct transfer *transfer)
{
    assert(transfer->place != TRANSFER_DEAD && transfer->loop->current != transfer);
    if (transfer->loop->gathering == transfer) {
        transfer->loop->gathering = NULL;
    }
    transfer_move(transfer, TRANSFER_DEAD);
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

/* Gives back what the transfer holds; it is in no list. */
static void let_go(struct transfer *transfer)
{
    transfer->driver->end(transfer);
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

void transfer_release(struct transfer *transfer)
{
    let_go(transfer);
    destroy(transfer);
}

void transfer_finish(struct transfer *transfer, int error)
{
    struct transfers *t = transfer->loop;
    TAILQ_REMOVE(&t->at[transfer->place], transfer, link);
    let_go(transfer); /* first: what on_done starts finds a handle in the pool */
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

uint64_t transfers_clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

char *transfers_buffer(struct transfers *t)
{
    if (!t->buffer) {
        t->buffer = malloc(TRANSFER_BUFFER);
    }
    return t->buffer;
}
