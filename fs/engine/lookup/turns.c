/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose look-up is next. Everybody may look up any name, and a server may take its time for each: so only so many are under way, of one
 * user fewer than of all, and the rest wait in the order they came, each user's on a list of his own; the users take turns.
 *
 * All of this happens on the fetch thread; no lock.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/lookup/private.h"

enum { UNDER_WAY_MAX = 128, UNDER_WAY_OF_USER_MAX = 32 };

TAILQ_HEAD(waiting_lookups, lookup);

struct turn_user {
    uint32_t id;
    unsigned under_way;
    struct waiting_lookups waiting;
    TAILQ_ENTRY(turn_user) link; /* in order of their turns; of those that have neither, none is kept */
};

static struct turn_user *find_user(struct turns *t, uint32_t id)
{
    struct turn_user *user;
    TAILQ_FOREACH(user, &t->users, link) {
        if (user->id == id)
            return user;
    }
    user = calloc(1, sizeof(*user));
    if (user == NULL)
        return NULL;
    user->id = id;
    TAILQ_INIT(&user->waiting);
    TAILQ_INSERT_TAIL(&t->users, user, link);
    return user;
}

static void drop_if_idle(struct turns *t, struct turn_user *user)
{
    if (user->under_way > 0 || !TAILQ_EMPTY(&user->waiting))
        return;
    TAILQ_REMOVE(&t->users, user, link);
    free(user);
}

int turns_wait(struct turns *t, struct lookup *l, uint32_t id)
{
    if (l->turn == TURN_UNDER_WAY || (l->turn == TURN_WAITING && l->turn_of->id == id))
        return 0;
    struct turn_user *user = find_user(t, id);
    if (user == NULL)
        return -ENOMEM;
    if (l->turn == TURN_WAITING && !TAILQ_EMPTY(&user->waiting)) /* he would not make it any sooner */
        return 0;
    turns_end(t, l);
    l->turn_of = user;
    l->turn = TURN_WAITING;
    t->waiting++;
    TAILQ_INSERT_TAIL(&user->waiting, l, turn_link);
    return 0;
}

struct lookup *turns_next(struct turns *t)
{
    struct turn_user *user;
    if (t->under_way >= UNDER_WAY_MAX)
        return NULL;
    TAILQ_FOREACH(user, &t->users, link) {
        if (user->under_way < UNDER_WAY_OF_USER_MAX && !TAILQ_EMPTY(&user->waiting))
            break;
    }
    if (user == NULL)
        return NULL;
    struct lookup *l = TAILQ_FIRST(&user->waiting);
    TAILQ_REMOVE(&user->waiting, l, turn_link);
    TAILQ_REMOVE(&t->users, user, link);
    TAILQ_INSERT_TAIL(&t->users, user, link);
    l->turn = TURN_UNDER_WAY;
    t->waiting--;
    user->under_way++;
    t->under_way++;
    return l;
}

void turns_end(struct turns *t, struct lookup *l)
{
    struct turn_user *user = l->turn_of;
    if (l->turn == TURN_WAITING) {
        TAILQ_REMOVE(&user->waiting, l, turn_link);
        t->waiting--;
    }
    if (l->turn == TURN_UNDER_WAY) {
        user->under_way--;
        t->under_way--;
    }
    if (l->turn != TURN_NONE)
        drop_if_idle(t, user);
    l->turn = TURN_NONE;
}

void turns_free(struct turns *t)
{
    struct turn_user *user;
    while ((user = TAILQ_FIRST(&t->users)) != NULL) {
        TAILQ_REMOVE(&t->users, user, link);
        free(user);
    }
}
