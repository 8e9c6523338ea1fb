/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a file touched ahead of its writer. The writer decides, with what it alone knows; the thread only touches.
 *
 * `lock` is a leaf: held to look at the blocks under way, and given up while the writer waits for one.
 */
#include "config-auto.h"

#include "store/prefault.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/tasks.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum {
    JUDGED = 128 << 10,        /* a write this long tells what memory costs, not what a system call does */
    PAIR = 2 * PREFAULT_BLOCK, /* the writer takes the first block of a pair as it comes, the thread has touched the second */
    UNDER_WAY = 2,             /* blocks: more would be in the way of what others read */
    USELESS = 64,              /* writes: so many in a row that were dear all the same, and it is given up */
};

enum block_state { BLOCK_NONE, BLOCK_ASKED_FOR, BLOCK_TOUCHED, BLOCK_LEFT /* to the writer, who came first */ };

struct block {
    struct prefault *prefault;
    enum block_state state; /* protected by the lock */
    int writer;             /* the writer's descriptor; protected by the lock */
    uint64_t offset;
    int fd; /* its own, of the same file */
};

struct prefault {
    struct tasks *thread;
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct block blocks[UNDER_WAY];
    unsigned useless; /* the writer's */
};

/*
 * One fault brings all of the block, in one piece if it can be had. It is a fault for writing, which changes nothing, because the kernel
 * puts a mark on what it read ahead, to go on from there: who reads there first would have the holes behind it filled as well, in small
 * pieces and at his own cost. What is dirty has no such mark. No room on the disk is an error here, not a signal.
 */
static void touch_file(int fd, uint64_t offset)
{
    void *at = mmap(NULL, PREFAULT_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
    unsigned char there = 0;

    if (at == MAP_FAILED)
        return;
    if (mincore(at, 1, &there) == 0 && !(there & 1)) { /* else the writer was faster */
        madvise(at, PREFAULT_BLOCK, MADV_HUGEPAGE);
        madvise(at, PREFAULT_BLOCK, MADV_RANDOM); /* not the block behind it, too */
        madvise(at, 1, MADV_POPULATE_WRITE);
    }
    munmap(at, PREFAULT_BLOCK);
}

static void touch(void *context)
{
    struct block *block = context;
    struct prefault *p = block->prefault;

    pthread_mutex_lock(&p->lock);
    bool wanted = block->state == BLOCK_ASKED_FOR;
    if (wanted)
        block->state = BLOCK_TOUCHED;
    pthread_mutex_unlock(&p->lock);
    if (wanted)
        touch_file(block->fd, block->offset);
    close(block->fd);
    pthread_mutex_lock(&p->lock);
    block->state = BLOCK_NONE;
    pthread_cond_broadcast(&p->done);
    pthread_mutex_unlock(&p->lock);
}

/* False: enough is under way, or no descriptor is to be had. */
static bool touch_soon(struct prefault *p, int fd, uint64_t offset)
{
    struct block *block = NULL;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < UNDER_WAY && block == NULL; i++) {
        if (p->blocks[i].state == BLOCK_NONE)
            block = &p->blocks[i];
    }
    if (block != NULL) {
        *block = (struct block){.prefault = p, .writer = fd, .offset = offset, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)};
        if (block->fd < 0)
            block = NULL;
        else
            block->state = BLOCK_ASKED_FOR;
    }
    pthread_mutex_unlock(&p->lock);
    if (block != NULL)
        tasks_add(p->thread, touch, block);
    return block != NULL;
}

/* The first second block of a pair at FROM or behind. */
static uint64_t second_block(uint64_t from)
{
    uint64_t block = from / PAIR * PAIR + PREFAULT_BLOCK;
    return block >= from ? block : block + PAIR;
}

int prefault_new(struct prefault **ret)
{
    struct prefault *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return -ENOMEM;
    int r = tasks_new("prefault", &p->thread);
    if (r < 0) {
        free(p);
        return r;
    }
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->done, NULL);
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        p->useless = USELESS;
    *ret = p;
    return 0;
}

void prefault_before(struct prefault *p, uint64_t ahead, int fd, uint64_t offset, size_t length)
{
    if (offset >= ahead)
        return;
    pthread_mutex_lock(&p->lock);
    for (int i = 0; i < UNDER_WAY; i++) {
        struct block *block = &p->blocks[i];
        if (block->writer != fd || block->offset + PREFAULT_BLOCK <= offset || block->offset >= offset + length)
            continue;
        if (block->state == BLOCK_ASKED_FOR)
            block->state = BLOCK_LEFT;
        while (block->state == BLOCK_TOUCHED)
            pthread_cond_wait(&p->done, &p->lock);
    }
    pthread_mutex_unlock(&p->lock);
}

void prefault_wrote(struct prefault *p, uint64_t *ahead, int fd, uint64_t offset, size_t length, int64_t ns, uint64_t end)
{
    if (length < JUDGED || p->useless >= USELESS)
        return;
    bool dear = ns > (int64_t)length; /* slower than 1 GB/s; memory that was in use is written at 4 to 5 */
    if (offset < *ahead && offset % PAIR >= PREFAULT_BLOCK) {
        p->useless = dear ? p->useless + 1 : 0;
        return;
    }
    uint64_t next = offset + length, last = next + PAIR + PREFAULT_BLOCK;
    for (uint64_t block; dear; *ahead = block + PREFAULT_BLOCK) {
        block = second_block(next > *ahead ? next : *ahead);
        if (block > last || block + PREFAULT_BLOCK > end || !touch_soon(p, fd, block))
            break;
    }
}

void prefault_free(struct prefault *p)
{
    if (p == NULL)
        return;
    tasks_finish(p->thread);
    pthread_cond_destroy(&p->done);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
