/* SPDX-License-Identifier: Apache-2.0 */
/* What lookup, freshness, turns and learn share. */
#ifndef GCFS_ENGINE_LOOKUP_PRIVATE_H
#define GCFS_ENGINE_LOOKUP_PRIVATE_H

#include <pthread.h>
#include <sys/queue.h>
#include <uthash.h>

#include "engine/images/shared.h"
#include "image/waiters.h"
#include "origin/login.h"

/* Look-ups by who asks, see turns.c. */
struct turn_user;
struct turns {
    TAILQ_HEAD(, turn_user) users;
    unsigned under_way, waiting; /* look-ups of all users */
};

/* A look-up under way: one for a name, however many ask. */
struct lookup {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
    UT_hash_handle hh;      /* by name; protected by lookups->lock */
    struct waiters waiters; /* protected by lookups->lock */
    /* the fetch thread's: */
    struct transfer *transfer;
    enum { TURN_NONE, TURN_WAITING, TURN_UNDER_WAY } turn;
    struct turn_user *turn_of; /* NULL before its first */
    TAILQ_ENTRY(lookup) turn_link;
    struct transfer_timer *pause;
    int64_t pause_least; /* monotonic; as image->retry_least */
    struct auth_waiter auth;
    unsigned credential, auth_tries, streams_lost;
    unsigned extras, others; /* of the request; how often it was made otherwise, at this endpoint */
    unsigned endpoint, tries, tried_endpoints;
    int64_t began; /* monotonic */
    int64_t asked_at; /* monotonic */
    bool teaches; /* who answered has a boot set of it */
    bool guest; /* room is kept for it, see origin/room.h */
    bool known; /* there is a row to go on with when the backend cannot be asked; set before it is asked */
    bool again; /* asked by describe_again() */
    bool ranged, plain; /* it was asked for a part; it is asked for all, because that was refused */
    int status;
    bool settling; /* in the hands of the rows thread; protected by lookups->lock */
    struct image_meta meta;
    struct transfer_head head; /* a copy, without the headers */
    size_t probe; /* bytes of the image asked for with it: PROBE_BYTES; 1 when only its version is in question */
    unsigned char *body; /* PROBE_BYTES; NULL until some come */
    size_t length;
};

struct lookups {
    pthread_mutex_t lock;
    struct lookup *by_name; /* protected by lock */
    struct turns turns;     /* the fetch thread's */
    atomic_bool slow;       /* the last look-up took longer than who is in a hurry waits */
};

/*
 * Parks W on the look-up of NAME; starts one unless it is under way, with PROBE bytes. KNOWN: there is a row of it that can be shown, so that
 * nobody waits for a backend to come back. ENGINE_PARKED; -ENOMEM, -EINTR, -ECANCELED: W was not taken. Any thread, takes lookups->lock.
 */
int lookup_park(struct engine *e, const char *name, size_t probe, bool known, struct waiter *w);

/* ---- turns.c: which look-up is made next; on the fetch thread */

/* Behind those of USER that wait already. One that waits for the turn of another goes over to him when that is sooner. -ENOMEM. */
int turns_wait(struct turns *t, struct lookup *l, uint32_t user);
struct lookup *turns_next(struct turns *t);               /* the one to be made now; NULL */
void turns_end(struct turns *t, struct lookup *l);        /* it is done with, or does not wait any more; fine when it never did */
void turns_free(struct turns *t);                         /* at the end, when the look-ups are gone */

/* ---- table.c */

void lookup_take_waiters(struct lookup *l, int status, struct waiters *out); /* off the table, with everybody who waits for it */
bool lookup_is_abandoned(struct lookup *l); /* nobody waits for it any more: it is off the table */
void lookup_free(struct lookup *l);

/* ---- lookup.c: asking, on the fetch thread */

void lookup_make_next(void *engine); /* those whose turn it is */
void lookup_finish(struct lookup *l, int status); /* it is over: the rows thread settles it */

/* ---- learn.c: what a look-up brought, into the catalogue. On the rows thread; blocks on the disk */

int learn_found(struct lookup *l); /* the backend has it, as l->meta says; l->body may become a probe. 0, or what the catalogue said */
void learn_gone(struct lookup *l); /* the backend does not have it: a row without bytes goes */

#endif
