/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the keeper for backing ids, one question at a time, and remembers the answers.
 *
 * `lock` is held from the question to the answer: the keeper answers at once. It is taken before the ledger's, and
 * before no other: whether an id may go is decided by the ledger while no other handle can be opened.
 */
#include "config-auto.h"

#include "fuse/passthrough.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>
#include <uthash.h>

#include "base/log.h"
#include "process/link.h"

struct known {
    int64_t row;
    int id;
    UT_hash_handle hh;
};

struct passthrough {
    int socket;
    struct ledger *ledger;
    pthread_mutex_t lock;
    struct known *known;  /* by row; protected by lock */
    _Atomic int refused; /* negative errno: the kernel takes no file from this cache directory */
};

struct passthrough *passthrough_new(int socket, struct ledger *ledger)
{
    struct passthrough *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return NULL;
    p->socket = socket;
    p->ledger = ledger;
    pthread_mutex_init(&p->lock, NULL);
    return p;
}

void passthrough_free(struct passthrough *p)
{
    struct known *k, *next;
    if (p == NULL)
        return;
    HASH_ITER(hh, p->known, k, next) {
        HASH_DEL(p->known, k);
        free(k);
    }
    close(p->socket);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static struct known *find_locked(struct passthrough *p, int64_t row)
{
    struct known *k;
    HASH_FIND(hh, p->known, &row, sizeof(row), k);
    return k;
}

/* 0 and the keeper's answer: an id, or why the kernel does not take the file. -errno: it could not be asked. */
static int ask_locked(struct passthrough *p, int64_t row, int fd, int *ret_answer)
{
    struct link_message message = {.type = LINK_BACKING_OPEN, .row = row};
    int r = link_send(p->socket, false, &message, &fd, 1);
    if (r == 0)
        r = link_receive(p->socket, false, &message, NULL, 0);
    if (r < 0)
        return r;
    if (message.type != LINK_BACKING || message.result == 0)
        return -EPROTO;
    *ret_answer = message.result;
    return 0;
}

/* An answer that holds for every file of the cache directory. */
static void note_refusal(struct passthrough *p, int r)
{
    if (r != -EOPNOTSUPP && r != -ELOOP && r != -EPERM && r != -EINVAL && r != -ENOTTY)
        return;
    if (atomic_exchange(&p->refused, r) == 0)
        log_notice("the kernel does not read cached images by itself, %s: they are read through the worker", passthrough_state(p));
}

bool passthrough_wanted(const struct passthrough *p)
{
    return p != NULL && atomic_load(&p->refused) == 0;
}

/* Nobody of ROW was answered as passthrough when the keeper has no id of it: those who came at once wait for the lock, and find themselves
 * in caching mode when they have it. */
static int first_locked(struct passthrough *p, int64_t row, int fd, int *ret_refusal)
{
    struct known *k = malloc(sizeof(*k));
    int answer = 0, r = k == NULL ? -ENOMEM : ask_locked(p, row, fd, &answer);
    if (r < 0 || answer < 0) {
        free(k);
        if (r == 0)
            ledger_turn_caching(p->ledger, row);
        *ret_refusal = answer;
        return r;
    }
    *k = (struct known){.row = row, .id = answer};
    HASH_ADD(hh, p->known, row, sizeof(k->row), k);
    return answer;
}

int passthrough_open(struct passthrough *p, int64_t row, uint64_t handle, int fd)
{
    int r, refusal = 0;
    pthread_mutex_lock(&p->lock);
    const struct known *k = find_locked(p, row);
    if (k != NULL)
        r = k->id;
    else if (ledger_is_caching(p->ledger, handle, row))
        r = 0;
    else
        r = first_locked(p, row, fd, &refusal);
    pthread_mutex_unlock(&p->lock);
    if (refusal < 0)
        note_refusal(p, refusal);
    return r;
}

void passthrough_close(struct passthrough *p, int64_t row)
{
    if (p == NULL)
        return;
    struct link_message message = {.type = LINK_BACKING_CLOSE, .row = row};
    pthread_mutex_lock(&p->lock);
    if (ledger_handles(p->ledger, row) == 0) {
        struct known *k = find_locked(p, row);
        if (k != NULL) {
            HASH_DEL(p->known, k);
            free(k);
        }
        link_send(p->socket, false, &message, NULL, 0); /* -EPIPE: without the keeper we end, too */
    }
    pthread_mutex_unlock(&p->lock);
}

const char *passthrough_state(const struct passthrough *p)
{
    switch (atomic_load(&p->refused)) {
    case 0:
        return "on";
    case -EPERM:
        return "the keeper lacks CAP_SYS_ADMIN";
    case -ELOOP:
        return "the cache directory is on a stacked file system";
    case -EOPNOTSUPP:
        return "the file system of the cache directory does not allow it";
    default:
        return "the kernel refuses the files of the cache directory";
    }
}
