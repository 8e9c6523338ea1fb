/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory of the log's index (-shm) is a mapped file. A write to it on a disk that has no block for the page, or whose quota is used up
 * (btrfs asks for a new one each time the page has been written back), is SIGBUS, the end of the process. So before SQLite writes there,
 * which it does with an exclusive lock of that file only, the pages are made writable, and the lack of room is an error as any other. All of
 * them before a writer's lock; with the others, which each read takes after a write, only the first page is written, where the marks of
 * readers and the progress of checkpoints stand (sqlite.org/walformat.html), and to look at more of them would be most of what such a read costs.
 *
 * SQLite's own methods of the file are called; all connections to one file share its mappings. The table of them is filled under a lock that
 * is a leaf, and emptied when the last connection is closed.
 */
#include "config-auto.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>

#include "catalogue/private.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { REGIONS = 64, CHECKPOINT_LOCK = 1, FIRST_READ_LOCK = 3, MARKS_END = 136 };

static struct {
    pthread_mutex_t lock;
    const sqlite3_io_methods *methods; /* SQLite's own */
    sqlite3_io_methods guarded;
    struct { void *at; size_t size; int number; } region[REGIONS];
    int regions;
} guard = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* False: a write there would be SIGBUS. */
static bool make_writable(void *at, size_t size)
{
    return madvise(at, size, MADV_POPULATE_WRITE) == 0 || (errno != EFAULT && errno != ENOSPC && errno != EDQUOT);
}

static void note_region(void *at, size_t size, int number)
{
    pthread_mutex_lock(&guard.lock);
    int i = 0;
    while (i < guard.regions && guard.region[i].at != at)
        i++;
    if (i == guard.regions && i < REGIONS) {
        guard.region[i].at = at;
        guard.region[i].size = size;
        guard.region[i].number = number;
        guard.regions++;
    }
    pthread_mutex_unlock(&guard.lock);
}

/* Of all regions all, or of the first one the page with the marks. */
static bool regions_writable(bool marks_only)
{
    bool writable = true;
    pthread_mutex_lock(&guard.lock);
    for (int i = 0; i < guard.regions && writable; i++) {
        if (!marks_only)
            writable = make_writable(guard.region[i].at, guard.region[i].size);
        else if (guard.region[i].number == 0)
            writable = make_writable(guard.region[i].at, MARKS_END);
    }
    pthread_mutex_unlock(&guard.lock);
    return writable;
}

/* N locks from OFFSET on: do they allow to write marks only? A recovery takes several at once, and writes all. */
static bool is_of_marks(int offset, int n)
{
    return n == 1 && (offset == CHECKPOINT_LOCK || offset >= FIRST_READ_LOCK);
}

static int shm_map(sqlite3_file *file, int number, int size, int extend, void volatile **ret)
{
    int code = guard.methods->xShmMap(file, number, size, extend, ret);
    if (code != SQLITE_OK || !*ret)
        return code;
    void *at = (void *)(uintptr_t)*ret;
    if (extend && !make_writable(at, (size_t)size))
        return SQLITE_FULL;
    note_region(at, (size_t)size, number);
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *file, int offset, int n, int flags)
{
    int code = guard.methods->xShmLock(file, offset, n, flags);
    if (code != SQLITE_OK || flags != (SQLITE_SHM_LOCK | SQLITE_SHM_EXCLUSIVE) || regions_writable(is_of_marks(offset, n)))
        return code;
    guard.methods->xShmLock(file, offset, n, SQLITE_SHM_UNLOCK | SQLITE_SHM_EXCLUSIVE);
    return offset >= FIRST_READ_LOCK && n == 1 ? SQLITE_BUSY : SQLITE_FULL; /* a reader takes a mark that is there */
}

void cat_guard(sqlite3 *db)
{
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK || !file || !file->pMethods)
        return;
    pthread_mutex_lock(&guard.lock);
    if (!guard.methods && file->pMethods->iVersion >= 2 && file->pMethods->xShmMap) {
        guard.methods = file->pMethods;
        guard.guarded = *file->pMethods;
        guard.guarded.xShmMap = shm_map;
        guard.guarded.xShmLock = shm_lock;
    }
    if (file->pMethods == guard.methods)
        file->pMethods = &guard.guarded;
    pthread_mutex_unlock(&guard.lock);
}

void cat_guard_end(void)
{
    pthread_mutex_lock(&guard.lock);
    guard.regions = 0;
    pthread_mutex_unlock(&guard.lock);
}
