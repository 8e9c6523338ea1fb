/* SPDX-License-Identifier: Apache-2.0 */
/* The ledger's memory: a head, INIT, the counters, and the slots of open handles. */
#ifndef GCFS_PROCESS_PRIVATE_H
#define GCFS_PROCESS_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <uthash.h>

#include "base/shares.h"
#include "process/ledger.h"

enum { SLOTS = 1 << 18, LEDGER_VERSION = 3 };

struct slot {
    _Atomic int64_t row; /* 0: free */
    uint64_t unique;
    uint32_t generation;
    _Atomic uint32_t flags;
    uint32_t user;
    uint32_t reserved;
};

enum { SLOT_CACHING = 1, SLOT_UNANSWERED = 2 };

struct shared {
    char magic[8];
    uint32_t version, slots;
    int64_t mounted_at;
    uint64_t init_agreed;
    _Atomic uint32_t init_length;
    unsigned char init[LEDGER_INIT_MAX];
    _Atomic uint64_t counters[128];
    _Atomic uint32_t high; /* slots at or above were never used */
    struct slot slot[];
};

struct row_count {
    int64_t row;
    unsigned caching, passthrough;
    UT_hash_handle hh;
};

struct ledger {
    struct shared *shared;
    pthread_mutex_t lock;
    struct row_count *rows; /* protected by lock */
    uint32_t *free_slots;   /* protected by lock; a stack */
    uint32_t free_count, free_size;
    uint32_t *orphans; /* protected by lock; slots */
    uint32_t orphan_count, orphan_size;
    uint64_t handles; /* protected by lock */
    struct shares users; /* protected by lock */
    unsigned user_max;   /* handles of one of them; 0: any number */
};

#endif
