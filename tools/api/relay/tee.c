/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer, a ring, and the thread that empties it. Whoever of the two is last frees the tee. */
#include "config-auto.h"

#include "api/relay/tee.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/cache/mount.h"
#include "base/clock.h"
#include "base/log.h"
#include "image/id.h"

enum { WRITE_BYTES = 512 * 1024, ENDING_SECONDS = 5, STACK_BYTES = 256 * 1024 };

struct tees {
    const char *mount;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    unsigned count; /* of threads; protected by lock */
};

struct tee {
    struct tees *of;
    char id[IMAGE_ID_MAX + 1];
    pthread_mutex_t lock;
    pthread_cond_t moved; /* there are bytes, or there is room, or one has ended */
    char *ring;
    uint64_t put, taken;  /* bytes, in all. Protected by lock, as all below */
    int64_t patience;     /* ns that may still be waited */
    bool full, good;      /* there is no more; and it is to be kept */
    bool lost;            /* it is not kept any more: the thread says so, or who waited for it */
    bool connection_gone, thread_gone;
};

struct tees *tees_new(const char *mount)
{
    struct tees *t = calloc(1, sizeof(*t));
    pthread_condattr_t monotonic;
    if (t == NULL)
        return NULL;
    t->mount = mount;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&t->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return t;
}

static struct timespec at(int64_t when)
{
    return (struct timespec){.tv_sec = (time_t)(when / NS_PER_S), .tv_nsec = (long)(when % NS_PER_S)};
}

void tees_free(struct tees *t)
{
    if (t == NULL)
        return;
    struct timespec until = at(clock_monotonic() + ENDING_SECONDS * NS_PER_S);
    pthread_mutex_lock(&t->lock);
    while (t->count > 0 && pthread_cond_timedwait(&t->ended, &t->lock, &until) == 0)
        ;
    bool idle = t->count == 0;
    pthread_mutex_unlock(&t->lock);
    if (!idle)
        return; /* a thread hangs in the mount, and will look at it again */
    pthread_cond_destroy(&t->ended);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static void destroy(struct tee *tee)
{
    pthread_cond_destroy(&tee->moved);
    pthread_mutex_destroy(&tee->lock);
    free(tee->ring);
    free(tee);
}

/* ---- the thread */

/* Some bytes that lie in one piece, or none: it has ended. */
static size_t next_bytes(struct tee *tee, const char **ret)
{
    pthread_mutex_lock(&tee->lock);
    while (tee->put == tee->taken && !tee->full && !tee->lost)
        pthread_cond_wait(&tee->moved, &tee->lock);
    size_t from = tee->taken % TEE_BUFFER, n = tee->lost ? 0 : (size_t)(tee->put - tee->taken);
    pthread_mutex_unlock(&tee->lock);
    *ret = tee->ring + from;
    n = n < TEE_BUFFER - from ? n : TEE_BUFFER - from;
    return n < WRITE_BYTES ? n : WRITE_BYTES;
}

static int write_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static int empty(struct tee *tee, int fd)
{
    const char *bytes;
    size_t n;
    int r = 0;
    while (r == 0 && (n = next_bytes(tee, &bytes)) > 0) {
        r = write_all(fd, bytes, n);
        pthread_mutex_lock(&tee->lock);
        tee->taken += n;
        tee->lost = tee->lost || r < 0;
        pthread_cond_signal(&tee->moved);
        pthread_mutex_unlock(&tee->lock);
    }
    pthread_mutex_lock(&tee->lock);
    bool good = tee->good && !tee->lost;
    pthread_mutex_unlock(&tee->lock);
    return r < 0 ? r : good ? 0 : -ECANCELED;
}

static void leave(struct tee *tee)
{
    struct tees *of = tee->of;
    pthread_mutex_lock(&tee->lock);
    tee->thread_gone = tee->lost = true;
    bool last = tee->connection_gone;
    pthread_cond_signal(&tee->moved);
    pthread_mutex_unlock(&tee->lock);
    if (last)
        destroy(tee);
    pthread_mutex_lock(&of->lock);
    of->count--;
    pthread_cond_signal(&of->ended);
    pthread_mutex_unlock(&of->lock);
}

static void *run(void *context)
{
    struct tee *tee = context;
    int root = -1, fd = -1, r = mount_hand_begin(tee->of->mount, tee->id, &root, &fd);
    if (r == 0)
        r = empty(tee, fd);
    if (r == 0)
        r = mount_hand_over(root, tee->id);
    if (fd >= 0)
        close(fd);
    if (root >= 0)
        close(root);
    if (r < 0 && r != -ECANCELED)
        log_info("%s: its upload is not kept in the cache: %s", tee->id, error_text(r));
    leave(tee);
    return NULL;
}

/* ---- the connection */

static bool start(struct tee *tee)
{
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_mutex_lock(&tee->of->lock);
    bool started = tee->of->count < TEES_MAX && pthread_create(&thread, &attributes, run, tee) == 0;
    tee->of->count += started;
    pthread_mutex_unlock(&tee->of->lock);
    pthread_attr_destroy(&attributes);
    return started;
}

struct tee *tee_begin(struct tees *t, const char *id)
{
    struct tee *tee = image_id_valid(id) ? calloc(1, sizeof(*tee)) : NULL;
    pthread_condattr_t monotonic;
    if (tee == NULL)
        return NULL;
    tee->of = t;
    tee->patience = TEE_PATIENCE_MS * (NS_PER_S / 1000);
    strcpy(tee->id, id);
    tee->ring = malloc(TEE_BUFFER);
    pthread_mutex_init(&tee->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&tee->moved, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (tee->ring == NULL || !start(tee)) {
        destroy(tee);
        return NULL;
    }
    return tee;
}

/* Room for a byte at least, waited for as long as there is patience; 0: it is lost. */
static size_t room_locked(struct tee *tee)
{
    int64_t began = clock_monotonic();
    struct timespec until = at(began + tee->patience);
    bool waited = false;
    while (!tee->lost && tee->put - tee->taken == TEE_BUFFER) {
        waited = true;
        if (pthread_cond_timedwait(&tee->moved, &tee->lock, &until) != 0)
            tee->lost = true;
    }
    if (waited)
        tee->patience -= clock_monotonic() - began;
    size_t from = tee->put % TEE_BUFFER, room = (size_t)(TEE_BUFFER - (tee->put - tee->taken));
    return tee->lost ? 0 : room < TEE_BUFFER - from ? room : TEE_BUFFER - from;
}

void tee_piece(struct tee *tee, const char *bytes, size_t length)
{
    if (tee == NULL)
        return;
    pthread_mutex_lock(&tee->lock);
    while (length > 0) {
        size_t n = room_locked(tee);
        if (n == 0)
            break;
        n = n < length ? n : length;
        memcpy(tee->ring + tee->put % TEE_BUFFER, bytes, n);
        tee->put += n;
        bytes += n;
        length -= n;
        pthread_cond_signal(&tee->moved);
    }
    pthread_mutex_unlock(&tee->lock);
}

void tee_end(struct tee *tee, bool good)
{
    if (tee == NULL)
        return;
    pthread_mutex_lock(&tee->lock);
    tee->full = tee->connection_gone = true;
    tee->good = good;
    tee->lost = tee->lost || !good;
    bool last = tee->thread_gone;
    pthread_cond_signal(&tee->moved);
    pthread_mutex_unlock(&tee->lock);
    if (last)
        destroy(tee);
}
