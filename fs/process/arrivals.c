/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of arrivals: a header and a fixed table of tracks. A track is free when its row is 0. It is taken by writing all else first
 * and the row last, freed by writing the row 0: a worker that is killed in between leaves it free or taken, never half. What no track has
 * used yet takes no memory.
 */
#include "config-auto.h"

#include "process/arrivals.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image/chunkmap.h"

enum { ARRIVALS_VERSION = 1 };
static const char MAGIC[8] = "GCFSARRV";

struct track {
    _Atomic int64_t row; /* 0: free */
    uint64_t length;     /* bytes of bits */
    _Atomic unsigned char bits[CHUNKMAP_MAX_BYTES];
};

struct shared {
    char magic[8];
    uint32_t version, tracks;
    _Atomic uint32_t high; /* tracks at or above were never used */
    struct track track[ARRIVALS_TRACKS];
};

struct arrivals {
    struct shared *shared;
    pthread_mutex_t lock; /* held while a track changes hands */
};

static int map(int fd, struct shared **ret)
{
    void *memory = mmap(NULL, sizeof(struct shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        return -errno;
    *ret = memory;
    return 0;
}

int arrivals_create(int *ret_fd)
{
    struct shared *s = NULL;
    int fd = memfd_create("glance-cache-fs-arrivals", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    bool sized = ftruncate(fd, sizeof(*s)) == 0 && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0;
    int r = sized ? map(fd, &s) : -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    memcpy(s->magic, MAGIC, sizeof(MAGIC));
    s->version = ARRIVALS_VERSION;
    s->tracks = ARRIVALS_TRACKS;
    munmap(s, sizeof(*s));
    *ret_fd = fd;
    return 0;
}

int arrivals_open(int fd, struct arrivals **ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_size != sizeof(struct shared))
        return -EBADMSG;
    struct arrivals *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    pthread_mutex_init(&a->lock, NULL);
    int r = map(fd, &a->shared);
    if (r == 0 && (memcmp(a->shared->magic, MAGIC, sizeof(MAGIC)) != 0 || a->shared->version != ARRIVALS_VERSION ||
                   a->shared->tracks != ARRIVALS_TRACKS))
        r = -EBADMSG;
    if (r < 0) {
        arrivals_close(a);
        return r;
    }
    *ret = a;
    return 0;
}

void arrivals_close(struct arrivals *a)
{
    if (a == NULL)
        return;
    if (a->shared != NULL)
        munmap(a->shared, sizeof(struct shared));
    pthread_mutex_destroy(&a->lock);
    free(a);
}

static uint32_t high(const struct arrivals *a)
{
    uint32_t n = atomic_load(&a->shared->high);
    return n < ARRIVALS_TRACKS ? n : ARRIVALS_TRACKS;
}

static struct track *find_locked(struct arrivals *a, int64_t row)
{
    uint32_t n = high(a);
    for (uint32_t i = 0; i < n; i++) {
        if (atomic_load(&a->shared->track[i].row) == row)
            return &a->shared->track[i];
    }
    return NULL;
}

struct track *arrivals_find(struct arrivals *a, int64_t row)
{
    assert(row != 0);
    pthread_mutex_lock(&a->lock);
    struct track *t = find_locked(a, row);
    pthread_mutex_unlock(&a->lock);
    return t;
}

struct track *arrivals_add(struct arrivals *a, int64_t row, const void *bits, size_t length)
{
    struct track *t;
    assert(row != 0);
    pthread_mutex_lock(&a->lock);
    if ((t = find_locked(a, row)) != NULL)
        atomic_store(&t->row, 0);
    else
        t = find_locked(a, 0);
    uint32_t index = high(a);
    if (t == NULL && index < ARRIVALS_TRACKS) {
        atomic_store(&a->shared->high, index + 1);
        t = &a->shared->track[index];
    }
    if (t != NULL && length <= CHUNKMAP_MAX_BYTES) {
        t->length = length;
        for (size_t i = 0; i < length; i++)
            atomic_store_explicit(&t->bits[i], ((const unsigned char *)bits)[i], memory_order_relaxed);
        atomic_store(&t->row, row);
    } else {
        t = NULL;
    }
    pthread_mutex_unlock(&a->lock);
    return t;
}

size_t arrivals_rows(struct arrivals *a, int64_t *rows, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&a->lock);
    uint32_t end = high(a);
    for (uint32_t i = 0; i < end && n < max; i++) {
        int64_t row = atomic_load(&a->shared->track[i].row);
        if (row != 0)
            rows[n++] = row;
    }
    pthread_mutex_unlock(&a->lock);
    return n;
}

void track_set(struct track *t, uint64_t chunk)
{
    assert(chunk / 8 < CHUNKMAP_MAX_BYTES);
    atomic_fetch_or_explicit(&t->bits[chunk / 8], (unsigned char)(1U << chunk % 8), memory_order_release);
}

const void *track_bits(const struct track *t, size_t *ret_length)
{
    *ret_length = (size_t)t->length < CHUNKMAP_MAX_BYTES ? (size_t)t->length : CHUNKMAP_MAX_BYTES;
    return (const void *)(uintptr_t)t->bits;
}

void track_free(struct arrivals *a, struct track *t)
{
    if (t == NULL)
        return;
    pthread_mutex_lock(&a->lock);
    atomic_store(&t->row, 0);
    pthread_mutex_unlock(&a->lock);
}
