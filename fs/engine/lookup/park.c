/* SPDX-License-Identifier: Apache-2.0 */
/* Parked on the look-up of a name, which is begun when there is none. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "engine/lookup/lookup.h"
#include "engine/lookup/private.h"

/* NAME is to be looked up for USER, who may be another than the one whose turn it waits for. */
struct wish {
    struct engine *engine;
    uint32_t user;
    char name[IMAGE_ID_MAX + 1];
};

static void take_wish(void *context)
{
    struct wish *wish = context;
    struct engine *e = wish->engine;
    struct lookup *l;
    pthread_mutex_lock(&e->lookups->lock);
    HASH_FIND_STR(e->lookups->by_name, wish->name, l);
    bool open = l != NULL && !l->settling;
    pthread_mutex_unlock(&e->lookups->lock);
    if (open && turns_wait(&e->lookups->turns, l, wish->user) < 0 && l->turn == TURN_NONE)
        lookup_finish(l, -ENOMEM);
    lookup_make_next(e);
    free(wish);
}

int lookup_park(struct engine *e, const char *name, size_t probe, bool known, struct waiter *w)
{
    struct lookup *l, *new = calloc(1, sizeof(*new));
    struct wish *wish = calloc(1, sizeof(*wish));
    bool started = false, parked = false;
    int r = ENGINE_PARKED;

    if (new == NULL || wish == NULL) {
        free(new);
        free(wish);
        return -ENOMEM;
    }
    *wish = (struct wish){.engine = e, .user = w->user};
    snprintf(wish->name, sizeof(wish->name), "%s", name);
    new->engine = e;
    new->probe = probe;
    new->known = known;
    new->began = clock_monotonic();
    snprintf(new->name, sizeof(new->name), "%s", name);
    TAILQ_INIT(&new->waiters);
    pthread_mutex_lock(&e->lookups->lock);
    HASH_FIND_STR(e->lookups->by_name, name, l);
    if (atomic_load(&w->interrupted) || atomic_load(&e->stopping)) {
        r = atomic_load(&e->stopping) ? -ECANCELED : -EINTR;
    } else {
        if (l == NULL) {
            l = new;
            HASH_ADD_STR(e->lookups->by_name, name, l);
            started = true;
        }
        TAILQ_INSERT_TAIL(&l->waiters, w, link);
        parked = true;
    }
    pthread_mutex_unlock(&e->lookups->lock);
    if (!started)
        free(new);
    if (!parked || !transfers_tell(e->transfers, take_wish, wish)) /* when the loop has ended: lookup_stop() ends it */
        free(wish);
    return r;
}
