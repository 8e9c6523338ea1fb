/* SPDX-License-Identifier: Apache-2.0 */
/* A count for each user who has any. */
#include "config-auto.h"

#include "base/shares.h"

#include <errno.h>
#include <stdlib.h>
#include <uthash.h>

struct share {
    uint32_t user;
    unsigned count;
    UT_hash_handle hh;
};

static struct share *find(const struct shares *s, uint32_t user)
{
    struct share *share;
    HASH_FIND(hh, s->users, &user, sizeof(user), share);
    return share;
}

int shares_take(struct shares *s, uint32_t user, unsigned most)
{
    struct share *share = find(s, user);
    if (share == NULL) {
        share = calloc(1, sizeof(*share));
        if (share == NULL)
            return -ENOMEM;
        share->user = user;
        HASH_ADD(hh, s->users, user, sizeof(share->user), share);
    } else if (most != 0 && share->count >= most) {
        return -EMFILE;
    }
    share->count++;
    return 0;
}

void shares_give_back(struct shares *s, uint32_t user)
{
    struct share *share = find(s, user);
    if (share == NULL || --share->count > 0)
        return;
    HASH_DEL(s->users, share);
    free(share);
}

void shares_free(struct shares *s)
{
    struct share *share, *next;
    HASH_ITER(hh, s->users, share, next) {
        HASH_DEL(s->users, share);
        free(share);
    }
}
