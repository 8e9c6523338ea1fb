/* SPDX-License-Identifier: Apache-2.0 */
/* How much of something each user has. No lock: the caller's. */
#ifndef GCFS_SHARES_H
#define GCFS_SHARES_H

#include <stdint.h>

struct share;
struct shares {
    struct share *users; /* NULL: nobody has any */
};

/* One more for USER, who may have MOST (0: any number). -EMFILE: he has; -ENOMEM. */
int shares_take(struct shares *s, uint32_t user, unsigned most);
/* One less; fine when he has none. */
void shares_give_back(struct shares *s, uint32_t user);
void shares_free(struct shares *s);

#endif
