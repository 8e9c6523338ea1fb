/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passes between libfuse and /dev/fuse, by libfuse's custom io.
 *
 *   first worker:  INIT is read from the kernel; its answer is completed (passthrough), written, and then both go to the ledger
 *   later ones:    INIT is played from the ledger, with the features that were agreed then and no others, so that another libfuse
 *                  cannot agree to something else; the answer is swallowed, and FUSE_NOTIFY_RESEND is written in its place
 *   from then on:  requests pass through; their numbers are noted for fuse_io_unique(), answers are counted in the ledger
 *
 * INIT is read and answered on one thread before all others start (see loop.c); nothing changes after it but `resending`, which is atomic. No lock.
 */
#include "config-auto.h"

#include "fuse/io.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "base/log.h"
#include "process/abi.h"

static struct {
    int fd;
    struct ledger *ledger;
    bool want_passthrough, played;
    enum { INIT_TO_READ, INIT_TO_ANSWER, INIT_DONE } state;
    uint64_t init_unique;
    unsigned char init[LEDGER_INIT_MAX];
    size_t init_length;
    uint64_t agreed;
    int (*trouble)(void *context); /* see fuse_io_watch() */
    void *trouble_of;
    void (*resent)(void *context); /* see fuse_io_after_resent() */
    void *resent_of;
    atomic_bool resending; /* what workers before us left may still come */
} io = {.fd = -1};

/* The request that this thread read last. */
static __thread uint64_t current_unique;

/* ---- INIT */

/*
 * What INIT says lies at the same place in every version of the protocol since 7.36; before, flags2 is not there and
 * reads as 0.
 */
static struct fuse_init_in *init_body(void)
{
    return (struct fuse_init_in *)(io.init + sizeof(struct fuse_in_header));
}

static uint64_t offered(void)
{
    const struct fuse_init_in *in = init_body();
    uint64_t flags = in->flags;
    if ((flags & FUSE_INIT_EXT) && io.init_length >= sizeof(struct fuse_in_header) + sizeof(*in))
        flags |= (uint64_t)in->flags2 << 32;
    return flags;
}

/* Keeps INIT, so that a later worker can be played it. */
static void note_init(const void *request, size_t length)
{
    io.init_length = length < sizeof(io.init) ? length : sizeof(io.init);
    memcpy(io.init, request, io.init_length);
    io.init_unique = ((const struct fuse_in_header *)request)->unique;
    io.state = INIT_TO_ANSWER;
}

/* io.init stays what the kernel offered. */
static ssize_t play_init(void *buf, size_t size)
{
    struct fuse_init_in *in = (struct fuse_init_in *)((unsigned char *)buf + sizeof(struct fuse_in_header));
    assert(io.init_length <= size);
    memcpy(buf, io.init, io.init_length);
    in->flags &= (uint32_t)io.agreed;
    if (io.init_length >= sizeof(struct fuse_in_header) + sizeof(*in))
        in->flags2 &= (uint32_t)(io.agreed >> 32);
    io.init_unique = ((const struct fuse_in_header *)buf)->unique;
    io.state = INIT_TO_ANSWER;
    return (ssize_t)io.init_length;
}

static ssize_t iov_length(const struct iovec *iov, int count)
{
    ssize_t n = 0;
    for (int i = 0; i < count; i++)
        n += (ssize_t)iov[i].iov_len;
    return n;
}

/* Every request that a worker before us read and did not answer comes again. */
static ssize_t ask_resend(int fd)
{
    struct fuse_out_header out = {.len = sizeof(out), .error = GCFS_NOTIFY_RESEND, .unique = 0};
    return write(fd, &out, sizeof(out));
}

static ssize_t answer_played(int fd, const struct iovec *iov, int count)
{
    io.state = INIT_DONE;
    if (ask_resend(fd) < 0)
        return -1;
    atomic_store(&io.resending, true);
    return iov_length(iov, count);
}

/* libfuse's answer to INIT, with what it does not know. */
static ssize_t answer_first(int fd, const struct iovec *iov, int count)
{
    struct {
        struct fuse_out_header header;
        struct fuse_init_out init;
    } out = {.header = {0}};
    ssize_t length = 0;
    for (int i = 0; i < count && length + (ssize_t)iov[i].iov_len <= (ssize_t)sizeof(out); i++) {
        memcpy((unsigned char *)&out + length, iov[i].iov_base, iov[i].iov_len);
        length += (ssize_t)iov[i].iov_len;
    }
    if (length < (ssize_t)sizeof(out) || out.header.error != 0) /* an error, or a kernel before 7.23: as it is */
        return writev(fd, iov, count);

    /* libfuse 3.14 leaves it out, though it is wanted: then every look-up in a folder waits for whoever lists it. */
    out.init.flags |= (uint32_t)offered() & FUSE_PARALLEL_DIROPS;
    if (io.want_passthrough && (offered() & GCFS_PASSTHROUGH)) {
        out.init.flags |= FUSE_INIT_EXT;
        out.init.flags2 |= (uint32_t)(GCFS_PASSTHROUGH >> 32);
        ((uint32_t *)&out.init)[GCFS_INIT_OUT_MAX_STACK_DEPTH] = 1;
    }
    if (write(fd, &out, sizeof(out)) < 0)
        return -1;
    io.agreed = out.init.flags;
    if (out.init.flags & FUSE_INIT_EXT)
        io.agreed |= (uint64_t)out.init.flags2 << 32;
    ledger_put_init(io.ledger, io.init, io.init_length, io.agreed);
    io.state = INIT_DONE;
    return length;
}

/* ---- what comes again */

static void end_resending(void)
{
    if (atomic_exchange(&io.resending, false) && io.resent != NULL)
        io.resent(io.resent_of);
}

/* They come before all others: when there is nothing to read, all have come. */
static void look_for_resent(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, 0) == 0)
        end_resending();
}

static bool is_new(const struct fuse_in_header *header)
{
    bool beside = header->opcode == FUSE_FORGET || header->opcode == FUSE_BATCH_FORGET || header->opcode == FUSE_INTERRUPT;
    return !beside && (header->unique & GCFS_UNIQUE_RESEND) == 0;
}

/* ---- libfuse's hooks */

static ssize_t io_read(int fd, void *buf, size_t size, void *context)
{
    (void)context;
    if (io.played && io.state == INIT_TO_READ)
        return play_init(buf, size);
    /* A killed thread still takes a request, into memory that is there; for memory it would have to get, the request fails with EIO. */
    enum { REQUEST = 4096 };
    for (size_t at = 0; at <= REQUEST && at < size; at += REQUEST)
        ((volatile char *)buf)[at] = 0;
    if (atomic_load(&io.resending))
        look_for_resent(fd);
    ssize_t n = read(fd, buf, size);
    if (n < (ssize_t)sizeof(struct fuse_in_header))
        return n;
    const struct fuse_in_header *header = buf;
    current_unique = header->unique;
    if (io.state == INIT_TO_READ && header->opcode == FUSE_INIT)
        note_init(buf, (size_t)n);
    else if (atomic_load(&io.resending) && is_new(header))
        end_resending();
    return n;
}

/*
 * An error that comes of a disk that cannot be used any more is not the answer: another worker goes on without that disk, and gets every
 * request that was not answered. Otherwise what is wrong with a disk or a file on it is an input or output error to who reads.
 */
static bool is_for_another(struct fuse_out_header *header)
{
    bool of_disk = header->error == -EIO || header->error == -EROFS || header->error == -EBADMSG || header->error == -EUCLEAN ||
                   header->error == -ENODEV || header->error == -ENXIO || header->error == -ENOSPC;
    int trouble = io.trouble == NULL ? 0 : io.trouble(io.trouble_of);
    if (header->unique == 0 || !of_disk)
        return false;
    if (header->error == -EBADMSG || header->error == -EUCLEAN)
        header->error = -EIO;
    return trouble != 0 && trouble != -EBADMSG && fuse_io_can_resend(io.init, io.init_length);
}

static ssize_t io_writev(int fd, struct iovec *iov, int count, void *context)
{
    (void)context;
    struct fuse_out_header *header = iov[0].iov_base;
    if (io.state == INIT_TO_ANSWER && header->unique == io.init_unique)
        return io.played ? answer_played(fd, iov, count) : answer_first(fd, iov, count);
    if (header->error < 0 && is_for_another(header))
        return iov_length(iov, count);
    if (header->unique != 0)
        ledger_count(io.ledger, COUNT_ANSWERS, 1);
    return writev(fd, iov, count);
}

/* libfuse uses the pipe again. */
static void empty_pipe(int fd)
{
    char buffer[4096];
    int left;
    while (ioctl(fd, FIONREAD, &left) == 0 && left > 0 && read(fd, buffer, sizeof(buffer)) > 0)
        continue;
}

static ssize_t io_splice_send(int from, off_t *from_offset, int to, off_t *to_offset, size_t length, unsigned flags, void *context)
{
    (void)context;
    ledger_count(io.ledger, COUNT_ANSWERS, 1);
    ssize_t n = splice(from, from_offset, to, to_offset, length, flags);
    if (n < 0 && errno == ENOENT) { /* the request was given up; libfuse would complain, and write the message to standard error */
        empty_pipe(from);
        return (ssize_t)length;
    }
    return n;
}

void fuse_io_watch(int (*trouble)(void *context), void *context)
{
    io.trouble = trouble;
    io.trouble_of = context;
}

void fuse_io_after_resent(void (*resent)(void *context), void *context)
{
    io.resent = resent;
    io.resent_of = context;
}

int fuse_io_attach(struct fuse_session *se, int fuse_fd, struct ledger *ledger, bool want_passthrough)
{
    static const struct fuse_custom_io hooks = {.read = io_read, .writev = io_writev, .splice_send = io_splice_send};
    assert(io.fd < 0);
    io.init_length = ledger_get_init(ledger, io.init, sizeof(io.init), &io.agreed);
    io.played = io.init_length > 0;
    io.ledger = ledger;
    io.want_passthrough = want_passthrough;
    io.fd = fuse_fd;
    int r = fuse_session_custom_io(se, &hooks, fuse_fd);
    return r > 0 ? -r : r;
}

void fuse_io_part_descriptors(void)
{
    static __thread bool parted;
    if (parted || io.fd < 0)
        return;
    parted = true;
    if (unshare(CLONE_FILES) < 0) {
        log_errno(-errno, "a thread's table of descriptors");
        return;
    }
    if (io.fd > STDERR_FILENO + 1)
        close_range(STDERR_FILENO + 1, (unsigned)io.fd - 1, 0);
    close_range((unsigned)io.fd + 1, ~0U, 0);
}

bool fuse_io_passthrough(void)
{
    return (io.agreed & GCFS_PASSTHROUGH) != 0;
}

bool fuse_io_can_resend(const void *init, size_t length)
{
    struct fuse_init_in in;
    if (length < sizeof(struct fuse_in_header) + sizeof(in))
        return false;
    memcpy(&in, (const unsigned char *)init + sizeof(struct fuse_in_header), sizeof(in));
    return (in.flags & FUSE_INIT_EXT) && (in.flags2 & (uint32_t)(GCFS_HAS_RESEND >> 32));
}

uint64_t fuse_io_unique(bool *ret_resent)
{
    *ret_resent = (current_unique & GCFS_UNIQUE_RESEND) != 0;
    return current_unique & ~GCFS_UNIQUE_RESEND;
}
