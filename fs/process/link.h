/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeper and worker say to each other: fixed messages with descriptors, over socket pairs of SOCK_SEQPACKET.
 *
 *   worker                                       keeper
 *   reads configuration and secrets, becomes the unprivileged user
 *     ── PREPARED ──────────────────────────────>  (a worker before it is told to stop now)
 *     <───────────────────────────── GO, 4 fds ──  /dev/fuse, the ledger, the arrivals, the socket for backing files
 *   opens catalogue and store, serves
 *     ── READY ─────────────────────────────────>
 *     <────────────────────────── STOP, how ─────
 *   ends with one of the exit codes below
 *
 * and on the second socket, as long as the worker lives:
 *     ── BACKING_OPEN row, fd ──────────────────>
 *     <───────────────────── BACKING result ─────  the id, or a negative errno
 *     ── BACKING_CLOSE row ─────────────────────>  (no answer)
 */
#ifndef GCFS_LINK_H
#define GCFS_LINK_H

#include <stdbool.h>
#include <stdint.h>

/* Goes up when messages or what lies in the shared memory change: a worker of another version does not start. */
enum { LINK_VERSION = 4, LINK_FDS_MAX = 4 };

enum link_type { LINK_PREPARED = 1, LINK_GO, LINK_READY, LINK_STOP, LINK_BACKING_OPEN, LINK_BACKING, LINK_BACKING_CLOSE };

enum {
    LINK_ALLOW_OTHER = 1,  /* GO */
    LINK_DETACH = 2,       /* GO: leave the terminal, log to syslog */
    LINK_PASSTHROUGH = 4,  /* GO: the keeper can register backing files */
    LINK_ALLOW_ROOT = 16,  /* GO: to the kernel the mount is for all, the worker lets only root and its own user in */
    LINK_HAND_OVER = 8,    /* STOP: another worker goes on */
};

struct link_message {
    uint32_t type, flags;
    int64_t row;
    int32_t result, reserved;
};

/* Exit codes of a worker; others are failures, as is a signal. */
enum { WORKER_ENDED = 0, WORKER_FAILED = 1, WORKER_UNMOUNTED = 10, WORKER_AFRESH = 11 };

/* The two ends, O_CLOEXEC. */
int link_pair(int ret_fds[2]);
/*
 * Sends MESSAGE with COUNT descriptors. Waits unless NOWAIT. -EPIPE: the other end is gone; -EAGAIN: its buffer is
 * full.
 */
int link_send(int fd, bool nowait, const struct link_message *message, const int *fds, unsigned count);
/*
 * Receives one message and exactly COUNT descriptors, O_CLOEXEC, the caller's to close. Waits unless NOWAIT. -EPIPE:
 * the other end is gone; -EAGAIN; -EPROTO: something else came.
 */
int link_receive(int fd, bool nowait, struct link_message *ret, int *ret_fds, unsigned count);

/* The type of the message that link_receive() would give, at once. -EAGAIN, -EPIPE, -EPROTO. */
int link_peek(int fd, enum link_type *ret);

#endif
