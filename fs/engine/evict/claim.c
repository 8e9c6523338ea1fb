/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: who moves a file in or out of the cache directory's top folder says first which name it is, and holds that until the catalogue and
 * the folder agree again. Between the commit that takes a name from an image and the move of its file lies an I/O or more: a file published
 * meanwhile under that name would be moved in its place.
 *
 * The list is protected by engine->lock, which is not held while a claim is. One claim a thread; the catalogue's turn is taken within.
 */
#include "config-auto.h"

#include <string.h>

#include "engine/private.h"

static bool is_claimed_locked(const struct engine *e, const char *name)
{
    const struct claim *c;
    TAILQ_FOREACH(c, &e->claims, link) {
        if (strcmp(c->name, name) == 0)
            return true;
    }
    return false;
}

void claim_name(struct engine *e, struct claim *claim, const char *name)
{
    claim->name = name;
    pthread_mutex_lock(&e->lock);
    while (is_claimed_locked(e, name))
        pthread_cond_wait(&e->claim_ended, &e->lock);
    TAILQ_INSERT_TAIL(&e->claims, claim, link);
    pthread_mutex_unlock(&e->lock);
}

void claim_end(struct engine *e, struct claim *claim)
{
    pthread_mutex_lock(&e->lock);
    TAILQ_REMOVE(&e->claims, claim, link);
    pthread_cond_broadcast(&e->claim_ended);
    pthread_mutex_unlock(&e->lock);
}
