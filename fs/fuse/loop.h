/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that take requests from the kernel and run the handlers. libfuse's own loop cannot be told to stop
 * without a race, and starts and ends threads at will; this one has a fixed few.
 */
#ifndef GCFS_FUSE_LOOP_H
#define GCFS_FUSE_LOOP_H

#include <stdbool.h>

struct fuse_session;
struct fuse_loop;

/*
 * The process's signals: the one that wakes the threads, and none from the terminal. Once, on the main thread, before
 * any other starts.
 */
void fuse_loop_prepare(void);
/* SE's first request (INIT), on the calling thread. -ENODEV: unmounted, or aborted. */
int fuse_loop_init(struct fuse_session *se);
/*
 * Starts THREADS threads. ENDED_FD (an eventfd) is written to when the connection ends: unmounted, or aborted. -EAGAIN,
 * -ENOMEM.
 */
int fuse_loop_start(struct fuse_session *se, unsigned threads, int ended_fd, struct fuse_loop **ret);
/*
 * No handler is called any more; those under way have returned (or parked their request) when this returns. With
 * REFUSE, requests are still read, and answered with an error: a thread of ours may wait for a lock in the kernel that
 * the sender of one holds. Without it they are left to another worker.
 */
void fuse_loop_stop(struct fuse_loop *loop, bool refuse);
void fuse_loop_free(struct fuse_loop *loop); /* after fuse_loop_stop(); NULL is fine */

#endif
