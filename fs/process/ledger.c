/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open handles: a fixed table of slots, one a handle, behind the head of the ledger's memory.
 *
 * A slot is free when its row is 0. It is taken by writing all else first and the row last, freed by writing the row 0: a worker
 * that is killed in between leaves it free or taken, never half. A handle is generation << 32 | slot; the generation goes up each
 * time a slot is taken, so that a late RELEASE of an older handle is told apart.
 *
 * A slot is UNANSWERED until just before the answer to its OPEN is written: not until after it, for of a worker killed in between the kernel
 * has the handle, and its file must stay. Such slots of workers before us are `orphans`, until their OPEN comes again or does not.
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

#include "base/clock.h"
#include "process/private.h"

static const char MAGIC[8] = "GCFSLDGR";

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

static int count_slot_locked(struct ledger *l, int64_t row, bool caching, uint32_t user, unsigned user_max)
{
    int r = shares_take(&l->users, user, user_max);
    if (r < 0)
        return r;
    struct row_count *c = row_get(l, row, true);
    if (c == NULL) {
        shares_give_back(&l->users, user);
        return -ENOMEM;
    }
    if (caching)
        c->caching++;
    else
        c->passthrough++;
    l->handles++;
    return 0;
}

static int push(uint32_t **slots, uint32_t *count, uint32_t *size, uint32_t index)
{
    if (*count == *size) {
        uint32_t bigger = *size ? *size * 2 : 64;
        uint32_t *grown = realloc(*slots, bigger * sizeof(*grown));
        if (grown == NULL)
            return -ENOMEM;
        *slots = grown;
        *size = bigger;
    }
    (*slots)[(*count)++] = index;
    return 0;
}

static int push_free_locked(struct ledger *l, uint32_t index)
{
    return push(&l->free_slots, &l->free_count, &l->free_size, index);
}

static bool is_caching(const struct slot *slot)
{
    return (atomic_load(&slot->flags) & SLOT_CACHING) != 0;
}

static bool is_unanswered(const struct slot *slot)
{
    return (atomic_load(&slot->flags) & SLOT_UNANSWERED) != 0;
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
        int r = row != 0 ? count_slot_locked(l, row, is_caching(slot), slot->user, 0) : push_free_locked(l, i);
        if (r == 0 && row != 0 && is_unanswered(slot))
            r = push(&l->orphans, &l->orphan_count, &l->orphan_size, i);
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
    free(l->orphans);
    shares_free(&l->users);
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

/* Its OPEN came again: it is ours. */
static void adopt_locked(struct ledger *l, const struct slot *slot)
{
    uint32_t index = (uint32_t)(slot - l->shared->slot);
    for (uint32_t i = 0; i < l->orphan_count; i++) {
        if (l->orphans[i] == index) {
            l->orphans[i] = l->orphans[--l->orphan_count];
            return;
        }
    }
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

static int enter_locked(struct ledger *l, int64_t row, uint32_t user, uint64_t unique, bool passthrough, struct slot **ret)
{
    struct slot *slot;
    int r = take_slot_locked(l, &slot);
    if (r < 0)
        return r;
    const struct row_count *c = row_get(l, row, false);
    bool caching = c == NULL ? !passthrough : c->caching > 0;
    slot->generation++;
    slot->unique = unique;
    slot->user = user;
    atomic_store(&slot->flags, SLOT_UNANSWERED | (caching ? SLOT_CACHING : 0));
    r = count_slot_locked(l, row, caching, user, user == 0 ? 0 : l->user_max);
    if (r < 0) {
        push_free_locked(l, (uint32_t)(slot - l->shared->slot));
        return r;
    }
    atomic_store(&slot->row, row);
    *ret = slot;
    return 0;
}

void ledger_limit_users(struct ledger *l, unsigned most)
{
    l->user_max = most;
}

int ledger_open_handle(struct ledger *l, int64_t row, uint32_t user, uint64_t unique, bool resent, bool passthrough,
                       uint64_t *ret_handle, bool *ret_passthrough)
{
    assert(row != 0);
    int r = 0;

    pthread_mutex_lock(&l->lock);
    struct slot *slot = resent ? find_unique(l, row, unique) : NULL;
    if (slot != NULL)
        adopt_locked(l, slot);
    else
        r = enter_locked(l, row, user, unique, passthrough, &slot);
    if (r == 0) {
        *ret_handle = handle_of(l, slot);
        *ret_passthrough = !is_caching(slot);
    }
    pthread_mutex_unlock(&l->lock);
    return r;
}

/* The slot of HANDLE; NULL: it is not open, or another's by now. */
static struct slot *slot_of(struct ledger *l, uint64_t handle, int64_t row)
{
    uint32_t index = (uint32_t)handle;
    struct slot *slot = index < high(l) ? &l->shared->slot[index] : NULL;
    return slot != NULL && slot->row == row && slot->generation == (uint32_t)(handle >> 32) ? slot : NULL;
}

void ledger_answering(struct ledger *l, uint64_t handle, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    struct slot *slot = slot_of(l, handle, row);
    if (slot != NULL)
        atomic_fetch_and(&slot->flags, ~(uint32_t)SLOT_UNANSWERED);
    pthread_mutex_unlock(&l->lock);
}

/* SLOT may be NULL. Returns how many handles of ROW are left. */
static unsigned leave_locked(struct ledger *l, struct slot *slot, int64_t row)
{
    struct row_count *c = row_get(l, row, false);
    unsigned left = 0;
    if (slot != NULL && c != NULL) {
        if (is_caching(slot))
            c->caching--;
        else
            c->passthrough--;
        l->handles--;
        shares_give_back(&l->users, slot->user);
        atomic_store(&slot->row, 0);
        push_free_locked(l, (uint32_t)(slot - l->shared->slot)); /* without memory the slot is lost until the next worker; nothing breaks */
    }
    if (c != NULL && (left = c->caching + c->passthrough) == 0) {
        HASH_DEL(l->rows, c);
        free(c);
    }
    return left;
}

unsigned ledger_close_handle(struct ledger *l, uint64_t handle, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    unsigned left = leave_locked(l, slot_of(l, handle, row), row);
    pthread_mutex_unlock(&l->lock);
    return left;
}

unsigned ledger_drop_orphans(struct ledger *l, void (*unused)(void *context, int64_t row), void *context)
{
    unsigned dropped = 0;
    pthread_mutex_lock(&l->lock);
    while (l->orphan_count > 0) {
        struct slot *slot = &l->shared->slot[l->orphans[--l->orphan_count]];
        int64_t row = atomic_load(&slot->row);
        if (row == 0)
            continue;
        dropped++;
        if (leave_locked(l, slot, row) > 0)
            continue;
        pthread_mutex_unlock(&l->lock);
        unused(context, row);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return dropped;
}

bool ledger_is_caching(struct ledger *l, uint64_t handle, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    const struct slot *slot = slot_of(l, handle, row);
    bool passthrough = slot != NULL && !is_caching(slot);
    pthread_mutex_unlock(&l->lock);
    return !passthrough;
}

void ledger_turn_caching(struct ledger *l, int64_t row)
{
    pthread_mutex_lock(&l->lock);
    struct row_count *c = row_get(l, row, false);
    for (uint32_t i = 0; c != NULL && c->passthrough > 0 && i < high(l); i++) {
        struct slot *slot = &l->shared->slot[i];
        if (slot->row == row && !is_caching(slot)) {
            atomic_fetch_or(&slot->flags, SLOT_CACHING);
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
