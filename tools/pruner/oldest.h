/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least recently used among many images: as many of them as together have so many bytes, and no more in memory, however many
 * are looked at. Pure; one thread.
 */
#ifndef GCFS_OLDEST_H
#define GCFS_OLDEST_H

#include <stddef.h>
#include <stdint.h>

struct candidate {
    int64_t accessed; /* nanoseconds since 1970; among equals, the lower inode is the older */
    uint64_t inode, bytes;
    char *name;
};

struct oldest {
    uint64_t wanted; /* bytes */
    size_t max;      /* candidates; the oldest so many are kept */
    uint64_t bytes;  /* of those kept */
    struct candidate *heap; /* the newest on top; sorted after oldest_sort() */
    size_t count, room;
};

void oldest_begin(struct oldest *o, uint64_t wanted, size_t max);
/* -ENOMEM. NAME is copied. */
int oldest_add(struct oldest *o, const char *name, int64_t accessed, uint64_t inode, uint64_t bytes);
/* Puts those kept in order, the oldest first. Nothing can be added afterwards. */
void oldest_sort(struct oldest *o);
void oldest_end(struct oldest *o);

#endif
