/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: who moves a file in or out of the cache directory's top folder says first which name it is, and holds that until the catalogue and
 * the folder agree again. Between the commit that takes a name from an image and the move of its file lies an I/O or more: a file published
 * meanwhile under that name would be moved in its place.
 *
 * The list has a lock, which is not held while a claim is. One claim a thread; the catalogue's turn is taken within.
 */
#include "config-auto.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "engine/evict/claim.h"

struct names {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    TAILQ_HEAD(, name_claim) claims; /* protected by lock */
};

int names_new(struct names **ret)
{
    struct names *n = calloc(1, sizeof(*n));
    if (n == NULL)
        return -ENOMEM;
    pthread_mutex_init(&n->lock, NULL);
    pthread_cond_init(&n->ended, NULL);
    TAILQ_INIT(&n->claims);
    *ret = n;
    return 0;
}

void names_free(struct names *n)
{
    if (n == NULL)
        return;
    pthread_cond_destroy(&n->ended);
    pthread_mutex_destroy(&n->lock);
    free(n);
}

static bool is_claimed_locked(const struct names *n, const char *name)
{
    const struct name_claim *c;
    TAILQ_FOREACH(c, &n->claims, link) {
        if (strcmp(c->name, name) == 0)
            return true;
    }
    return false;
}

void claim_name(struct names *n, struct name_claim *claim, const char *name)
{
    claim->name = name;
    pthread_mutex_lock(&n->lock);
    while (is_claimed_locked(n, name))
        pthread_cond_wait(&n->ended, &n->lock);
    TAILQ_INSERT_TAIL(&n->claims, claim, link);
    pthread_mutex_unlock(&n->lock);
}

void claim_end(struct names *n, struct name_claim *claim)
{
    pthread_mutex_lock(&n->lock);
    TAILQ_REMOVE(&n->claims, claim, link);
    pthread_cond_broadcast(&n->ended);
    pthread_mutex_unlock(&n->lock);
}
