/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_perform(): one transfer on the caller's thread, in a loop of its own. The loops that it uses belong to the
 * loop it was called with, whose lock protects the lists they stand in.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>

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
