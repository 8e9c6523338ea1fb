/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger's memory: a header, the counters, and a fixed table of slots, one an open handle.
 *
 * A slot is free when its row is 0. It is taken by writing all else first and the row last, freed by writing the row 0: a worker
 * that is killed in between leaves it free or taken, never half. A handle is generation << 32 | slot; the generation goes up each
 * time a slot is taken, so that a late RELEASE of an older handle is told apart.
 *
 * Which slots are free, and the handles of each row, are in this worker's own memory, under `lock`.
 */
#include "config-auto.h"

#include "process/ledger.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uthash.h>

#include "base/clock.h"

enum { SLOTS = 1 << 18, LEDGER_VERSION = 2 };
static const char MAGIC[8] = "GCFSLDGR";

struct slot {
    _Atomic int64_t row; /* 0: free */
    uint64_t unique;
    uint32_t generation;
    uint32_t caching;
};

struct shared {
    char magic[8];
    uint32_t version, slots;
    int64_t mounted_at;
    uint64_t init_agreed;
    _Atomic uint32_t init_length;
    unsigned char init[LEDGER_INIT_MAX];
    _Atomic uint64_t counters[64];
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
    uint64_t handles; /* protected by lock */
};

static size_t shared_size(void)
{
    return sizeof(struct shared) + SLOTS * sizeof(struct slot);
}

int ledger_create(int *ret_fd)
{
    int fd = memfd_create("glance-cache-fs-ledger", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    struct shared *s = MAP_FAILED;
    /* Whoever has it can cut it short no more: the others would die of the next access. */
    if (ftruncate(fd, (off_t)shared_size()) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
        s = mmap(NULL, shared_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (s == MAP_FAILED) {
        int r = -errno;
        close(fd);
        return r;
    }
    memcpy(s->magic, MAGIC, sizeof(MAGIC));
    s->version = LEDGER_VERSION;
    s->slots = SLOTS;
    s->mounted_at = clock_now();
    munmap(s, shared_size());
    *ret_fd = fd;
    return 0;
}

static struct row_count *row_get(struct ledger *l, int64_t row, bool create)
{
    struct row_count *c;
    HASH_FIND(hh, l->rows, &row, sizeof(row), c);
    if (c == NULL && create && (c = calloc(1, sizeof(*c))) != NULL) {
        c->row = row;
        HASH_ADD(hh, l->rows, row, sizeof(c->row), c);
    }
    return c;
}

static int count_slot_locked(struct ledger *l, int64_t row, bool caching)
{
    struct row_count *c = row_get(l, row, true);
    if (c == NULL)
        return -ENOMEM;
    if (caching)
        c->caching++;
    else
        c->passthrough++;
    l->handles++;
    return 0;
}

static int push_free_locked(struct ledger *l, uint32_t index)
{
    if (l->free_count == l->free_size) {
        uint32_t size = l->free_size ? l->free_size * 2 : 64;
        uint32_t *bigger = realloc(l->free_slots, size * sizeof(*bigger));
        if (bigger == NULL)
            return -ENOMEM;
        l->free_slots = bigger;
        l->free_size = size;
    }
    l->free_slots[l->free_count++] = index;
    return 0;
}

/* Slots that may be in use. Another process may have written anything there. */
static uint32_t high(const struct ledger *l)
{
    uint32_t n = atomic_load(&l->shared->high);
    return n < SLOTS ? n : SLOTS;
}

/* What the workers before left: their handles count as ours. */
static int take_over(struct ledger *l)
{
    for (uint32_t i = 0, n = high(l); i < n; i++) {
        const struct slot *slot = &l->shared->slot[i];
        int64_t row = atomic_load(&slot->row);
        int r = row != 0 ? count_slot_locked(l, row, slot->caching) : push_free_locked(l, i);
        if (r < 0)
            return r;
    }
    return 0;
}

int ledger_open(int fd, struct ledger **ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size != (off_t)shared_size())
        return -EBADMSG;
    struct ledger *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    l->shared = mmap(NULL, shared_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int r = 0;
    if (l->shared == MAP_FAILED) {
        l->shared = NULL;
        r = -errno;
    } else if (memcmp(l->shared->magic, MAGIC, sizeof(MAGIC)) != 0 || l->shared->version != LEDGER_VERSION ||
               l->shared->slots != SLOTS) {
        r = -EBADMSG;
    } else {
        r = take_over(l);
    }
    if (r < 0) {
        ledger_close(l);
        return r;
    }
    *ret = l;
    return 0;
}

void ledger_close(struct ledger *l)
{
    if (l == NULL)
        return;
    struct row_count *c, *next;
    HASH_ITER(hh, l->rows, c, next) {
        HASH_DEL(l->rows, c);
        free(c);
    }
    free(l->free_slots);
    if (l->shared != NULL)
        munmap(l->shared, shared_size());
    pthread_mutex_destroy(&l->lock);
    free(l);
}

/* The slot that a worker before us filled for this very request. */
static struct slot *find_unique(struct ledger *l, int64_t row, uint64_t unique)
{
    for (uint32_t i = 0; i < high(l); i++) {
        struct slot *slot = &l->shared->slot[i];
        if (slot->row == row && slot->unique == unique)
            return slot;
    }
    return NULL;
}

static uint64_t handle_of(const struct ledger *l, const struct slot *slot)
{
    return (uint64_t)slot->generation << 32 | (uint64_t)(slot - l->shared->slot);
}

static int take_slot_locked(struct ledger *l, struct slot **ret)
{
    if (l->free_count > 0) {
        *ret = &l->shared->slot[l->free_slots[--l->free_count]];
        return 0;
    }
    uint32_t index = high(l);
    if (index >= SLOTS)
        return -ENFILE;
    atomic_store(&l->shared->high, index + 1);
    *ret = &l->shared->slot[index];
    return 0;
}

int ledger_open_handle(struct ledger *l, int64_t row, uint64_t unique, bool resent, bool passthrough, uint64_t *ret_handle,
                       bool *ret_passthrough)
{
    assert(row != 0);
    struct slot *slot;
    int r = 0;

    pthread_mutex_lock(&l->lock);
    if (!resent || (slot = find_unique(l, row, unique)) == NULL) {
        r = take_slot_locked(l, &slot);
        if (r == 0) {
            const struct row_count *c = row_get(l, row, false);
            slot->generation++;
            slot->unique = unique;
            slot->caching = c == NULL ? !passthrough : c->caching > 0;
            r = count_slot_locked(l, row, slot->caching);
        }
        if (r == 0)
            atomic_store(&slot->row, row);
    }
    if (r == 0) {
        *ret_handle = handle_of(l, slot);
        *ret_passthrough = !slot->caching;
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

unsigned ledger_close_handle(struct ledger *l, uint64_t handle, int64_t row)
{
    uint32_t index = (uint32_t)handle;
    unsigned left = 0;

    pthread_mutex_lock(&l->lock);
    struct slot *slot = index < high(l) ? &l->shared->slot[index] : NULL;
    struct row_count *c = row_get(l, row, false);
    if (slot != NULL && slot->row == row && slot->generation == (uint32_t)(handle >> 32) && c != NULL) {
        if (slot->caching)
            c->caching--;
        else
            c->passthrough--;
        l->handles--;
        atomic_store(&slot->row, 0);
        push_free_locked(l, index); /* without memory the slot is lost until the next worker; nothing breaks */
    }
    if (c != NULL && (left = c->caching + c->passthrough) == 0) {
        HASH_DEL(l->rows, c);
        free(c);
    }
    pthread_mutex_unlock(&l->lock);
    return left;
}

bool ledger_is_caching(struct ledger *l, uint64_t handle, int64_t row)
{
    uint32_t index = (uint32_t)handle;
    pthread_mutex_lock(&l->lock);
    const struct slot *slot = index < high(l) ? &l->shared->slot[index] : NULL;
    bool passthrough = slot != NULL && slot->row == row && slot->generation == (uint32_t)(handle >> 32) && !slot->caching;
    pthread_mutex_unlock(&l->lock);
    return !passthrough;
}

void ledger_turn_caching(struct ledger *l, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    struct row_count *c = row_get(l, row, false);
    for (uint32_t i = 0; c != NULL && c->passthrough > 0 && i < high(l); i++) {
        struct slot *slot = &l->shared->slot[i];
        if (slot->row == row && !slot->caching) {
            slot->caching = true;
            c->passthrough--;
            c->caching++;
        }
    }
    pthread_mutex_unlock(&l->lock);
}

unsigned ledger_handles(struct ledger *l, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    struct row_count *c = row_get(l, row, false);
    unsigned n = c ? c->caching + c->passthrough : 0;
    pthread_mutex_unlock(&l->lock);
    return n;
}

uint64_t ledger_all_handles(struct ledger *l)
{
    pthread_mutex_lock(&l->lock);
    uint64_t n = l->handles;
    pthread_mutex_unlock(&l->lock);
    return n;
}

void ledger_count(struct ledger *l, enum ledger_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&l->shared->counters[counter], n, memory_order_relaxed);
}

const double FETCH_SECONDS[] = {0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000};

void ledger_count_fetch(struct ledger *l, double seconds)
{
    unsigned i = 0, bounds = sizeof(FETCH_SECONDS) / sizeof(FETCH_SECONDS[0]);
    while (i < bounds && seconds > FETCH_SECONDS[i])
        i++;
    ledger_count(l, COUNT_FETCH_LE + i, 1);
    ledger_count(l, COUNT_FETCH_MS, (uint64_t)(seconds * 1000));
}

uint64_t ledger_counter(struct ledger *l, enum ledger_counter counter)
{
    return atomic_load_explicit(&l->shared->counters[counter], memory_order_relaxed);
}

int64_t ledger_mounted_at(struct ledger *l)
{
    return l->shared->mounted_at;
}

void ledger_put_init(struct ledger *l, const void *request, size_t length, uint64_t agreed)
{
    assert(length <= LEDGER_INIT_MAX);
    memcpy(l->shared->init, request, length);
    l->shared->init_agreed = agreed;
    atomic_store(&l->shared->init_length, (uint32_t)length);
}

size_t ledger_get_init(struct ledger *l, void *request, size_t size, uint64_t *ret_agreed)
{
    size_t length = atomic_load(&l->shared->init_length);
    if (length == 0 || length > size)
        return 0;
    memcpy(request, l->shared->init, length);
    *ret_agreed = l->shared->init_agreed;
    return length;
}
