/* SPDX-License-Identifier: Apache-2.0 */
/* What origin and login share. */
#ifndef GCFS_ORIGIN_PRIVATE_H
#define GCFS_ORIGIN_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "origin/crowd.h"
#include "origin/login.h"
#include "origin/origin.h"

struct endpoint_health {
    int64_t down_until; /* monotonic */
    unsigned fails;     /* in a row */
    int64_t denied_at;   /* monotonic; when it was logged last that it refuses us */
    bool told_whole;     /* it was logged that it does not send parts */
    int64_t last_ok, last_error; /* wall clock; 0: never */
    char error[160];
};

struct origin {
    const struct backend_ops *ops;
    struct backend *backend;
    struct transfers *transfers;
    struct ledger *ledger;
    void (*on_well)(void *context), (*on_room)(void *context);
    void *context;

    pthread_mutex_t lock;
    struct endpoint_health endpoints[ENDPOINTS_MAX + 1]; /* the last: ENDPOINT_AUTH; protected by lock */
    struct crowd crowd; /* see room.c; protected by lock */
    bool crowd_told;    /* it was logged that there is a limit; protected by lock */
    atomic_uint most;   /* crowd.most */
    atomic_uint open, asides; /* requests under way: for bytes, others */
    atomic_int_least64_t served_at; /* the last one for bytes ended that was not refused; monotonic ns */
    atomic_uint guests;       /* those others that wait for them to be fewer */
    atomic_int_least64_t wait; /* written by the fetch thread */

    /* the fetch thread's: */
    struct transfer_timer *room_timer;
    struct {
        struct transfer *transfer; /* the renewal under way; NULL */
        struct auth_waiters waiters;
        char *body;
        size_t length, room;
        const char *why;
        unsigned retry_after, fails; /* fails: in a row */
        int64_t not_before; /* monotonic */
        int status;         /* of the one that failed */
    } login;
};

#endif
