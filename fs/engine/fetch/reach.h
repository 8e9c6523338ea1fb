/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much comes from a backend in the time that it takes to answer: what is asked for ahead beyond that waits behind it, and who asks for
 * something else then waits, too. Pure: numbers in, numbers out.
 */
#ifndef GCFS_REACH_H
#define GCFS_REACH_H

#include <stdint.h>

struct reach {
    uint64_t bytes; /* that came in NS over one connection at a time, of the last requests */
    int64_t ns;
    int64_t wait;   /* the shortest for a first byte of late; 0: none yet */
};

void reach_waited(struct reach *r, int64_t ns); /* for a first byte */
/* A request's BYTES came in NS, first to last, while CONNECTIONS shared the way. */
void reach_got(struct reach *r, uint64_t bytes, int64_t ns, unsigned connections);
uint64_t reach_of(const struct reach *r); /* bytes; 0: not known yet */
/* The same of a backend that is near for what a reader in order is to have: nobody notices REACH_NEAR_MS. */
uint64_t reach_worth(const struct reach *r);
enum { REACH_NEAR_MS = 25 };

#endif
