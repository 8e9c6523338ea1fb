/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readers: each takes the next image. They have all they need for themselves, since they may outlive the run that started them; the last to
 * leave frees it. The threads take no signals.
 */
#include "config-auto.h"

#include "prefetcher/readers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "image/id.h"

enum { PIECE = 1 << 20 };

struct readers {
    atomic_size_t refs; /* the threads, and who started them */
    atomic_size_t next; /* image to be taken */
    atomic_bool stopping;
    int images, cached; /* folders */
    size_t count;
    char *names[];
};

static void put(struct readers *r)
{
    if (atomic_fetch_sub(&r->refs, 1) > 1)
        return;
    for (size_t i = 0; i < r->count; i++)
        free(r->names[i]);
    if (r->images >= 0)
        close(r->images);
    if (r->cached >= 0)
        close(r->cached);
    free(r);
}

/* O_NOATIME is for the owner and for root: then it does not count as use of the image. */
static int open_image(const struct readers *r, const char *name)
{
    int fd = openat(r->images, name, O_RDONLY | O_CLOEXEC | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(r->images, name, O_RDONLY | O_CLOEXEC) : fd;
}

static void read_image(const struct readers *r, const char *name, char *buffer)
{
    int fd = open_image(r, name);
    if (fd < 0)
        return;
    off_t at = 0;
    ssize_t n;
    while (!atomic_load(&r->stopping) && (n = pread(fd, buffer, PIECE, at)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        if (n > 0)
            posix_fadvise(fd, at, n, POSIX_FADV_DONTNEED);
        at += n > 0 ? n : 0;
    }
    close(fd);
}

static void *work(void *context)
{
    struct readers *r = context;
    char *buffer = malloc(PIECE);
    for (size_t i; buffer != NULL && !atomic_load(&r->stopping) && (i = atomic_fetch_add(&r->next, 1)) < r->count;) {
        if (image_id_valid(r->names[i]) && faccessat(r->cached, r->names[i], F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            read_image(r, r->names[i], buffer);
    }
    free(buffer);
    put(r);
    return NULL;
}

static struct readers *prepare(const struct prefetch_run *run)
{
    struct readers *r = calloc(1, sizeof(*r) + run->count * sizeof(r->names[0]));
    if (r == NULL)
        return NULL;
    atomic_init(&r->refs, 1);
    r->images = openat(run->run->mount->fd, "images", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    r->cached = fcntl(run->cached, F_DUPFD_CLOEXEC, 0);
    bool good = r->images >= 0 && r->cached >= 0;
    while (good && r->count < run->count) {
        good = (r->names[r->count] = strdup(run->items[r->count].name)) != NULL;
        r->count += good;
    }
    if (good)
        return r;
    put(r);
    return NULL;
}

int readers_start(const struct prefetch_run *run, size_t threads, struct readers **ret)
{
    sigset_t all, before;
    pthread_attr_t detached;
    pthread_t thread;
    struct readers *r = prepare(run);
    if (r == NULL)
        return log_errno(errno != 0 ? -errno : -ENOMEM, "starting to read");
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    for (size_t i = 0; error == 0 && i < threads; i++) {
        atomic_fetch_add(&r->refs, 1);
        error = pthread_create(&thread, &detached, work, r);
        if (error != 0)
            put(r);
        if (error != 0 && i > 0) { /* those that there are do it as well */
            log_warning("only %zu images are read at a time: %s", i, error_text(-error));
            error = 0;
            break;
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    if (error != 0) {
        put(r);
        return log_errno(-error, "starting to read");
    }
    *ret = r;
    return 0;
}

void readers_leave(struct readers *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    put(r);
}
