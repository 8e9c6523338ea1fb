/* SPDX-License-Identifier: Apache-2.0 */
/* Readers: each takes the next image that is not cached yet. A read that waits is interrupted by SIGUSR1, which no other thread takes. */
#include "config-auto.h"

#include "readers.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "image_id.h"
#include "log.h"

enum { PIECE = 1 << 20, NUDGE_MS = 20 };

struct readers {
    const struct prefetch_run *run;
    atomic_size_t next;
    atomic_bool stopping;
    size_t count;
    pthread_t threads[];
};

static void nothing(int number)
{
    (void)number;
}

/* O_NOATIME is for the owner and for root: then it does not count as use of the image. */
static int open_image(const struct readers *r, const char *name)
{
    char path[IMAGE_ID_MAX + 16];
    snprintf(path, sizeof(path), "images/%s", name);
    int fd = openat(r->run->run->mount->fd, path, O_RDONLY | O_CLOEXEC | O_NOATIME);
    return fd < 0 && errno == EPERM ? openat(r->run->run->mount->fd, path, O_RDONLY | O_CLOEXEC) : fd;
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
    for (size_t i; buffer != NULL && !atomic_load(&r->stopping) && (i = atomic_fetch_add(&r->next, 1)) < r->run->count;) {
        const char *name = r->run->items[i].name;
        if (image_id_valid(name) && faccessat(r->run->cached, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            read_image(r, name, buffer);
    }
    free(buffer);
    return NULL;
}

int readers_start(const struct prefetch_run *run, size_t threads, struct readers **ret)
{
    sigset_t all, before;
    struct readers *r = calloc(1, sizeof(*r) + threads * sizeof(r->threads[0]));
    if (r == NULL)
        return log_errno(-ENOMEM, "starting the readers");
    r->run = run;
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = nothing}, NULL);
    sigfillset(&all);
    sigdelset(&all, SIGUSR1);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (error == 0 && r->count < threads) {
        error = pthread_create(&r->threads[r->count], NULL, work, r);
        r->count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0 && r->count == 0) {
        free(r);
        return log_errno(-error, "starting the readers");
    }
    *ret = r;
    return 0;
}

void readers_stop(struct readers *r)
{
    if (r == NULL)
        return;
    atomic_store(&r->stopping, true);
    for (size_t i = 0; i < r->count; i++) {
        while (pthread_tryjoin_np(r->threads[i], NULL) == EBUSY) { /* the signal may come right before the read */
            pthread_kill(r->threads[i], SIGUSR1);
            nanosleep(&(struct timespec){.tv_nsec = NUDGE_MS * NS_PER_MS}, NULL);
        }
    }
    free(r);
}
