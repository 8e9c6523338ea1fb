/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that take requests from the kernel and run the handlers. libfuse's own loop cannot be told to stop without a race, and
 * starts and ends threads at will; this one has a fixed few.
 */
#ifndef GCFS_FUSE_LOOP_H
#define GCFS_FUSE_LOOP_H

struct fuse_session;
struct fuse_loop;

/*
 * Takes SE's first request (INIT) on the calling thread, then starts THREADS threads. ENDED_FD is written to (an eventfd) when the
 * connection ended: unmounted, or aborted. -ENODEV: it has ended already. Call fuse_loop_prepare() before any thread starts.
 */
int fuse_loop_start(struct fuse_session *se, unsigned threads, int ended_fd, struct fuse_loop **ret);
/* No request is taken any more; those taken were handled (or parked) when this returns. Frees the loop. */
void fuse_loop_stop(struct fuse_loop *loop);
/* The process's signals: the one that wakes the threads, and none from the terminal. Once, on the main thread. */
void fuse_loop_prepare(void);

#endif
