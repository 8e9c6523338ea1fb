/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread reads a request, handles it, reads the next. To stop, `stopping` is set and the threads are sent a signal
 * that ends their read(2); one that was on its way into read(2) is sent another.
 *
 * State: `stopping` and `running` are atomic, the rest does not change while threads run. No lock.
 */
#include "config-auto.h"

#include "fuse/loop.h"

#include <errno.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "base/log.h"

enum { WAKE_SIGNAL = SIGUSR1, STACK_BYTES = 256 * 1024, KICK_NS = 2 * 1000 * 1000 };

struct fuse_loop {
    struct fuse_session *se;
    bool (*serve_one)(struct fuse_session *se, struct fuse_buf *buf);
    int ended_fd;
    atomic_bool stopping;
    atomic_uint running;
    unsigned count;
    pthread_t threads[];
};

static void tell_end(const struct fuse_loop *loop)
{
    uint64_t one = 1;
    if (write(loop->ended_fd, &one, sizeof(one)) < 0)
        log_errno(-errno, "the end of the connection to the kernel could not be told");
}

/* One request. False: the connection has ended. */
static bool serve_one(struct fuse_session *se, struct fuse_buf *buf)
{
    int n = fuse_session_receive_buf(se, buf);
    if (n == -EINTR || n == -EAGAIN)
        return true;
    if (n <= 0)
        return false;
    fuse_session_process_buf(se, buf);
    return !fuse_session_exited(se);
}

/* One request, answered with an error. */
static bool refuse_one(struct fuse_session *se, struct fuse_buf *buf)
{
    int n = fuse_session_receive_buf(se, buf);
    if (n == -EINTR || n == -EAGAIN)
        return true;
    if (n < (int)sizeof(struct fuse_in_header))
        return false;
    const struct fuse_in_header *in = buf->mem;
    struct fuse_out_header out = {.len = sizeof(out), .error = -ENODEV, .unique = in->unique};
    if (in->opcode == FUSE_FORGET || in->opcode == FUSE_BATCH_FORGET || in->opcode == FUSE_INTERRUPT)
        return true;
    return write(fuse_session_fd(se), &out, sizeof(out)) >= 0 || errno == ENOENT; /* -ENOENT: interrupted */
}

static void *serve(void *context)
{
    struct fuse_loop *loop = context;
    struct fuse_buf buf = {.mem = NULL};
    sigset_t wake;
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &wake, NULL);
    while (!atomic_load(&loop->stopping)) {
        if (!loop->serve_one(loop->se, &buf)) {
            tell_end(loop);
            break;
        }
    }
    free(buf.mem);
    atomic_fetch_sub(&loop->running, 1);
    return NULL;
}

static int start_threads(struct fuse_loop *loop, unsigned threads)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int r = 0;
    while (loop->count < threads && r == 0) {
        atomic_fetch_add(&loop->running, 1);
        r = -pthread_create(&loop->threads[loop->count], &attributes, serve, loop);
        if (r < 0) {
            atomic_fetch_sub(&loop->running, 1);
        } else {
            pthread_setname_np(loop->threads[loop->count], "fuse");
            loop->count++;
        }
    }
    pthread_attr_destroy(&attributes);
    return r;
}

int fuse_loop_init(struct fuse_session *se)
{
    struct fuse_buf buf = {.mem = NULL};
    bool alive = serve_one(se, &buf);
    free(buf.mem);
    return alive ? 0 : -ENODEV;
}

int fuse_loop_start(struct fuse_session *se, unsigned threads, int ended_fd, struct fuse_loop **ret)
{
    struct fuse_loop *loop = calloc(1, sizeof(*loop) + threads * sizeof(loop->threads[0]));
    if (loop == NULL)
        return -ENOMEM;
    loop->se = se;
    loop->serve_one = serve_one;
    loop->ended_fd = ended_fd;
    int r = start_threads(loop, threads);
    if (r < 0) {
        fuse_loop_free(loop);
        return r;
    }
    *ret = loop;
    return 0;
}

static void stop_threads(struct fuse_loop *loop)
{
    atomic_store(&loop->stopping, true);
    while (atomic_load(&loop->running) > 0) {
        for (unsigned i = 0; i < loop->count; i++)
            pthread_kill(loop->threads[i], WAKE_SIGNAL); /* of one that has ended: nothing happens, it is not joined yet */
        nanosleep(&(struct timespec){.tv_nsec = KICK_NS}, NULL);
    }
    for (unsigned i = 0; i < loop->count; i++)
        pthread_join(loop->threads[i], NULL);
    loop->count = 0;
}

void fuse_loop_stop(struct fuse_loop *loop, bool refuse)
{
    stop_threads(loop);
    if (!refuse)
        return;
    atomic_store(&loop->stopping, false);
    loop->serve_one = refuse_one;
    start_threads(loop, 1); /* without it, at worst, the keeper's patience ends */
}

void fuse_loop_free(struct fuse_loop *loop)
{
    if (loop == NULL)
        return;
    stop_threads(loop);
    free(loop);
}

static void wake_up(int signal_number)
{
    (void)signal_number;
}

void fuse_loop_prepare(void)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR2, SIGPIPE};
    struct sigaction act = {.sa_handler = wake_up}; /* without SA_RESTART: read(2) is to end */
    sigset_t wake;
    sigaction(WAKE_SIGNAL, &act, NULL);
    act.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
        sigaction(ignored[i], &act, NULL);
    /* Only the threads that take requests are woken; no other system call is to be interrupted. */
    sigemptyset(&wake);
    sigaddset(&wake, WAKE_SIGNAL);
    pthread_sigmask(SIG_BLOCK, &wake, NULL);
}
