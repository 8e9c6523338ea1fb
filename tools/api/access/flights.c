/* SPDX-License-Identifier: Apache-2.0 */
/* The questions under way. A flight is freed by the last who knows it: the one that asks, or one that waited. */
#include "config-auto.h"

#include "api/access/flights.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct flight {
    char key[VERDICT_KEY];
    unsigned users; /* protected by the lock, as all below */
    bool landed;
    int result;
    void *answer;
    UT_hash_handle hh;
};

struct flights {
    pthread_mutex_t lock;
    pthread_cond_t landed;
    struct flight *all; /* under way; protected by lock */
};

struct flights *flights_new(void)
{
    struct flights *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return NULL;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->landed, NULL);
    return f;
}

void flights_free(struct flights *f)
{
    if (f == NULL)
        return;
    pthread_cond_destroy(&f->landed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

static void leave_locked(struct flight *one)
{
    if (--one->users > 0)
        return;
    free(one->answer);
    free(one);
}

/* The one under way, or a new one: then *RET_MINE. NULL: no memory. */
static struct flight *board_locked(struct flights *f, const char *key, size_t size, bool *ret_mine)
{
    struct flight *one;
    HASH_FIND_STR(f->all, key, one);
    *ret_mine = one == NULL;
    if (one == NULL) {
        one = calloc(1, sizeof(*one));
        if (one == NULL)
            return NULL;
        one->answer = calloc(1, size);
        if (one->answer == NULL) {
            free(one);
            return NULL;
        }
        memcpy(one->key, key, VERDICT_KEY);
        HASH_ADD_STR(f->all, key, one);
    }
    one->users++;
    return one;
}

int flights_ask(struct flights *f, const char key[VERDICT_KEY], flights_fn *ask, void *context, void *ret, size_t size)
{
    bool mine;
    pthread_mutex_lock(&f->lock);
    struct flight *one = board_locked(f, key, size, &mine);
    if (one != NULL && mine) {
        pthread_mutex_unlock(&f->lock);
        int result = ask(context, one->answer, size);
        pthread_mutex_lock(&f->lock);
        one->result = result;
        one->landed = true;
        HASH_DEL(f->all, one);
        pthread_cond_broadcast(&f->landed);
    }
    while (one != NULL && !one->landed)
        pthread_cond_wait(&f->landed, &f->lock);
    int r = one == NULL ? -ENOMEM : one->result;
    if (r == 0)
        memcpy(ret, one->answer, size);
    if (one != NULL)
        leave_locked(one);
    pthread_mutex_unlock(&f->lock);
    return r;
}
