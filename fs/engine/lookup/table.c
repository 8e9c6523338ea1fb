/* SPDX-License-Identifier: Apache-2.0 */
/* The table of look-ups under way: one for a name, and everybody who waits for it. Under lookups->lock. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/lookup/lookup.h"
#include "engine/lookup/private.h"

int lookups_new(struct lookups **ret)
{
    struct lookups *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    TAILQ_INIT(&t->turns.users);
    *ret = t;
    return 0;
}

void lookups_free(struct lookups *t)
{
    if (t != NULL)
        pthread_mutex_destroy(&t->lock);
    free(t);
}

/* Off the table, with everybody who waits for it. */
void lookup_take_waiters(struct lookup *l, int status, struct waiters *out)
{
    struct engine *e = l->engine;
    struct waiter *w;
    pthread_mutex_lock(&e->lookups->lock);
    HASH_DEL(e->lookups->by_name, l);
    while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
        TAILQ_REMOVE(&l->waiters, w, link);
        w->status = status;
        TAILQ_INSERT_TAIL(out, w, link);
    }
    pthread_mutex_unlock(&e->lookups->lock);
}

void lookup_free(struct lookup *l)
{
    free(l->body);
    free(l);
}

bool lookup_is_abandoned(struct lookup *l)
{
    struct engine *e = l->engine;
    pthread_mutex_lock(&e->lookups->lock);
    bool wanted = !TAILQ_EMPTY(&l->waiters);
    if (!wanted)
        HASH_DEL(e->lookups->by_name, l);
    pthread_mutex_unlock(&e->lookups->lock);
    return !wanted;
}

bool lookup_waits(struct engine *e, const char *name)
{
    struct lookup *l;
    pthread_mutex_lock(&e->lookups->lock);
    HASH_FIND_STR(e->lookups->by_name, name, l);
    pthread_mutex_unlock(&e->lookups->lock);
    return l != NULL;
}

void lookup_take_interrupted(struct engine *e, struct waiters *out)
{
    struct lookup *l, *next;
    pthread_mutex_lock(&e->lookups->lock);
    HASH_ITER(hh, e->lookups->by_name, l, next) {
        waiters_take_interrupted(&l->waiters, out);
    }
    pthread_mutex_unlock(&e->lookups->lock);
}

void lookup_stop(struct engine *e)
{
    struct waiters all = TAILQ_HEAD_INITIALIZER(all);
    struct lookup *l, *next;
    struct waiter *w;
    pthread_mutex_lock(&e->lookups->lock);
    HASH_ITER(hh, e->lookups->by_name, l, next) {
        if (l->settling)
            continue;
        HASH_DEL(e->lookups->by_name, l);
        while ((w = TAILQ_FIRST(&l->waiters)) != NULL) {
            TAILQ_REMOVE(&l->waiters, w, link);
            w->status = -ECANCELED;
            TAILQ_INSERT_TAIL(&all, w, link);
        }
        lookup_free(l);
    }
    pthread_mutex_unlock(&e->lookups->lock);
    turns_free(&e->lookups->turns);
    wake_all(&all);
}
