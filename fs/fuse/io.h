/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes between libfuse and /dev/fuse, where we put our hand in: INIT is kept for later workers and played to them,
 * the kernel is asked to send again what a dead worker left unanswered, passthrough is negotiated behind libfuse's back
 * (it knows it only from 3.17 on).
 */
#ifndef GCFS_FUSE_IO_H
#define GCFS_FUSE_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "process/ledger.h"

struct fuse_session;

/*
 * Gives SE the descriptor of a mounted /dev/fuse. A ledger without an INIT request: this is the first worker of the
 * mount, INIT comes from the kernel, and with WANT_PASSTHROUGH the kernel is offered it. Else INIT is played from the
 * ledger, its answer swallowed, and FUSE_NOTIFY_RESEND sent. Once a process. -errno.
 */
int fuse_io_attach(struct fuse_session *se, int fuse_fd, struct ledger *ledger, bool want_passthrough);

/*
 * TROUBLE(CONTEXT) says whether the disk below cannot be used any more (negative errno; 0): then another worker is to go on, and errors that
 * come of that are not answered, where the kernel gives it every request that was not. Before fuse_io_attach(); it is called by any thread.
 */
void fuse_io_watch(int (*trouble)(void *context), void *context);

/*
 * RESENT(CONTEXT) is called once, by a thread that reads requests, when all that workers before this one left unanswered have been read, though
 * not all may have been handled. Not in the first worker of a mount. Before the threads start; it may wait for the disk.
 */
void fuse_io_after_resent(void (*resent)(void *context), void *context);

/*
 * For a thread that tells the kernel to forget something, before it does so. That can sleep, beyond any signal, until a
 * request is answered that only a later worker answers; and while a thread of a dead process sleeps so, its descriptors
 * stay open. The calling thread gets a table of descriptors of its own with nothing in it but /dev/fuse and standard
 * error, so that the rest go with the process, by which the keeper sees that it is dead. Once a thread; further calls
 * do nothing.
 */
void fuse_io_part_descriptors(void);

/*
 * Was passthrough agreed with the kernel for this mount? (Kept in the ledger's INIT area by the first worker.) After
 * INIT.
 */
bool fuse_io_passthrough(void);

/* Does the kernel that sent this INIT request send again what a dead worker left unanswered (Linux ≥ 6.9)? */
bool fuse_io_can_resend(const void *init, size_t length);

/*
 * The kernel's number of the request that the calling FUSE thread handles; *ret_resent: it was sent again after a
 * worker died.
 */
uint64_t fuse_io_unique(bool *ret_resent);

#endif
