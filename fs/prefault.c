/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of a file touched ahead of its writer. The writer decides, with what it alone knows; the thread only touches.
 */
#include "config-auto.h"

#include "prefault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tasks.h"

#ifndef MADV_POPULATE_WRITE /* Linux 5.14 */
#define MADV_POPULATE_WRITE 23
#endif

enum {
    JUDGED = 128 << 10,        /* a write this long tells what memory costs, not what a system call does */
    PAIR = 2 * PREFAULT_BLOCK, /* the writer takes the first block of a pair as it comes, the thread has touched the second */
    UNDER_WAY = 2,             /* blocks: more would be in the way of what others read */
    USELESS = 64,              /* writes: so many in a row that were dear all the same, and it is given up */
};

struct prefault {
    struct tasks *thread;
    atomic_uint under_way;
    unsigned useless; /* the writer's */
};

struct block {
    struct prefault *prefault;
    int fd; /* its own */
    uint64_t offset;
};

/*
 * One fault brings all of the block, in one piece if it can be had. It is a fault for writing, which changes nothing, because the kernel
 * puts a mark on what it read ahead, to go on from there: who reads there first would have the holes behind it filled as well, in small
 * pieces and at his own cost. What is dirty has no such mark. No room on the disk is an error here, not a signal.
 */
static void touch(void *context)
{
    struct block *block = context;
    void *at = mmap(NULL, PREFAULT_BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, block->fd, (off_t)block->offset);

    if (at != MAP_FAILED) {
        unsigned char there = 0;
        if (mincore(at, 1, &there) == 0 && !(there & 1)) { /* else the writer was faster */
            madvise(at, PREFAULT_BLOCK, MADV_HUGEPAGE);
            madvise(at, PREFAULT_BLOCK, MADV_RANDOM); /* not the block behind it, too */
            madvise(at, 1, MADV_POPULATE_WRITE);
        }
        munmap(at, PREFAULT_BLOCK);
    }
    close(block->fd);
    atomic_fetch_sub(&block->prefault->under_way, 1);
    free(block);
}

static bool touch_soon(struct prefault *p, int fd, uint64_t offset)
{
    struct block *block = malloc(sizeof(*block));
    if (block == NULL)
        return false;
    *block = (struct block){.prefault = p, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .offset = offset};
    if (block->fd < 0) {
        free(block);
        return false;
    }
    atomic_fetch_add(&p->under_way, 1);
    tasks_add(p->thread, touch, block);
    return true;
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
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        p->useless = USELESS;
    *ret = p;
    return 0;
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
    for (uint64_t block; dear && atomic_load(&p->under_way) < UNDER_WAY; *ahead = block + PREFAULT_BLOCK) {
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
    free(p);
}
