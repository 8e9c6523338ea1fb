/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Local files that answer as a server would: status, headers, ranges, conditions.
 *
 * The files of a loop take turns, one slice of one file a round, so that neither the network nor another file waits
 * long for the disk. A slice is handed on only when the file still has the size and times it had at first: what is
 * given out is of one version (a change within one tick of the file system's clock cannot be seen). Everything runs on
 * the loop's thread; no lock.
 */
#include "config-auto.h"

#include "base/log.h"
#include "transfer/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { CAPPED_SLICE = 256 * 1024 }; /* of a file whose rate is limited; else TRANSFER_BUFFER */

/* ---- the answer's head */

__attribute__((format(printf, 3, 4)))
static void add_header(struct transfer *transfer, const char *name, const char *format, ...)
{
    char line[256];
    int length = snprintf(line, sizeof line, "%s: ", name);
    va_list arguments;
    va_start(arguments, format);
    length += vsnprintf(line + length, sizeof line - (size_t)length, format, arguments);
    va_end(arguments);
    transfer_headers_add(&transfer->headers, line, (size_t)length);
}

/* Changes with every write, and when another file takes the place of this one. */
static void make_etag(const struct stat *stat, char *etag, size_t size)
{
    snprintf(etag, size, "\"%jx-%jx-%jx.%09lx\"", (uintmax_t)stat->st_ino, (uintmax_t)stat->st_size,
             (uintmax_t)stat->st_ctim.tv_sec, stat->st_ctim.tv_nsec);
}

/* Is ETAG in LIST, the value of If-Match: "*" or quoted tags? Our tags hold no quote, comma or blank. */
static bool etag_listed(const char *list, const char *etag)
{
    if (strcmp(list, "*") == 0) {
        return true;
    }
    const char *found = strstr(list, etag);
    return found && (found == list || (found[-1] != '/' && found[-1] != '"')); /* W/"…" is weak: never a match */
}

static void describe_file(struct transfer *transfer, const char *etag)
{
    const time_t modified = transfer->stat.st_mtim.tv_sec;
    struct tm utc;
    char date[64];
    add_header(transfer, "ETag", "%s", etag);
    add_header(transfer, "Accept-Ranges", "bytes");
    if (gmtime_r(&modified, &utc) && strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &utc) > 0) {
        add_header(transfer, "Last-Modified", "%s", date);
    }
}

/* The status for the file that is open, which bytes follow (.position to .end), and what the head says of them. */
static int choose_bytes(struct transfer *transfer, const char *etag)
{
    const struct transfer_request *request = &transfer->request;
    const uint64_t size = (uint64_t)transfer->stat.st_size;
    const char *if_match = transfer_request_find(request, "If-Match");
    const char *if_range = transfer_request_find(request, "If-Range");
    if (if_match && !etag_listed(if_match, etag)) {
        return 412;
    }
    transfer->position = 0;
    if (!request->ranged || (if_range && strcmp(if_range, etag) != 0)) {
        transfer->end = size;
        return 200;
    }
    struct transfer_head *head = &transfer->head;
    head->ranged = true;
    head->total = size;
    if (request->first >= size) {
        head->first = 1; /* unsatisfied */
        return 416;
    }
    head->first = transfer->position = request->first;
    head->last = request->last < size ? request->last : size - 1;
    transfer->end = head->last + 1;
    return 206;
}

/* The status that an error of open() or stat() answers with; 0: that is no answer, but a failure. */
static int status_of(int error)
{
    switch (error) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
    case ENXIO: /* a socket */
        return 404;
    case EACCES:
    case EPERM:
        return 403;
    default:
        return 0;
    }
}

/* Opens the file into .fd and .stat. 0, or the status to answer with, or negative errno. */
static int open_file(struct transfer *transfer)
{
    struct stat stat_before;
    int status = 404;
    /* Asked before it is opened, because opening a device may do something. Symbolic links are followed. */
    if (stat(transfer->request.path, &stat_before) < 0) {
        status = status_of(errno);
        return status ? status : -errno;
    }
    if (!S_ISREG(stat_before.st_mode)) {
        return 404;
    }
    int fd = open(transfer->request.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        status = status_of(errno);
        return status ? status : -errno;
    }
    transfer->fd = fd;
    if (fstat(fd, &transfer->stat) < 0) {
        return -errno;
    }
    if (!S_ISREG(transfer->stat.st_mode)) {
        return 404;
    }
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    return 0;
}

/* The first turn: the head. Afterwards the transfer goes on with its bytes, or has ended. */
static void answer(struct transfer *transfer)
{
    char etag[128];
    transfer->head.total = TRANSFER_LENGTH_UNKNOWN;
    int status = open_file(transfer);
    if (status < 0) {
        transfer_message(transfer, "%s", error_text(status));
        transfer_finish(transfer, status);
        return;
    }
    if (status == 0) {
        make_etag(&transfer->stat, etag, sizeof etag);
        describe_file(transfer, etag);
        status = choose_bytes(transfer, etag);
    }
    transfer->head.status = status;
    transfer->head.length = transfer->end - transfer->position;
    if (transfer->request.method && strcmp(transfer->request.method, "HEAD") == 0) {
        transfer->end = transfer->position;
    }
    if (transfer_give_head(transfer) < 0 || transfer->position == transfer->end) {
        transfer_finish(transfer, 0);
    }
}

/* ---- its bytes */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* 0; -ESTALE when the file is not as it was when opened. */
static int check_unchanged(const struct transfer *transfer)
{
    struct stat now;
    if (fstat(transfer->fd, &now) < 0) {
        return -errno;
    }
    bool same = now.st_size == transfer->stat.st_size && same_time(&now.st_mtim, &transfer->stat.st_mtim) &&
                same_time(&now.st_ctim, &transfer->stat.st_ctim);
    return same ? 0 : -ESTALE;
}

/* Reads the next slice into the loop's buffer. Returns how many bytes; -ESTALE; what the disk says. */
static ssize_t read_slice(struct transfer *transfer)
{
    struct transfers *t = transfer->loop;
    uint64_t left = transfer->end - transfer->position;
    size_t want = transfer->request.max_rate > 0 ? CAPPED_SLICE : TRANSFER_BUFFER;
    if (left < want) {
        want = (size_t)left;
    }
    if (!transfers_buffer(t)) {
        return -ENOMEM;
    }
    ssize_t got;
    do {
        got = pread(transfer->fd, t->buffer, want, (off_t)transfer->position);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return -errno;
    }
    int r = check_unchanged(transfer);
    if (r < 0) {
        return r;
    }
    return got > 0 ? got : -ESTALE;
}

static void pass_slice(struct transfer *transfer)
{
    ssize_t got = read_slice(transfer);
    if (got < 0) {
        int error = (int)got;
        transfer_message(transfer, "%s", error == -ESTALE ? "the file changed while it was read" : error_text(error));
        transfer_finish(transfer, error);
        return;
    }
    transfer->position += (uint64_t)got;
    transfer_count_rate(transfer, (size_t)got);
    if (transfer_give_data(transfer, transfer->loop->buffer, (size_t)got) < 0 || transfer->position == transfer->end) {
        transfer_finish(transfer, 0);
    }
}

/* ---- turns */

/* The first file that is due, seen from the head of the ring; NULL. */
static struct transfer *next_due(const struct transfers *t, uint64_t now)
{
    struct transfer *transfer;
    TAILQ_FOREACH(transfer, &t->at[TRANSFER_LOCAL], link) {
        if (transfer->due <= now) {
            return transfer;
        }
    }
    return NULL;
}

/* Reads one slice of one file that is due. */
static void step(struct transfers *t)
{
    struct transfer *transfer = next_due(t, transfers_clock_ns());
    if (!transfer) {
        return;
    }
    transfer_move(transfer, TRANSFER_LOCAL); /* behind the others */
    if (transfer->head_done) {
        pass_slice(transfer);
    } else {
        answer(transfer);
    }
}

static uint64_t due(const struct transfers *t)
{
    uint64_t first = UINT64_MAX;
    const struct transfer *transfer;
    TAILQ_FOREACH(transfer, &t->at[TRANSFER_LOCAL], link) {
        first = transfer->due < first ? transfer->due : first;
    }
    return first;
}

/* Opening is left to its first turn. */
static int begin(struct transfer *transfer)
{
    (void)transfer;
    return 0;
}

static void end(struct transfer *transfer)
{
    if (transfer->fd >= 0) {
        close(transfer->fd);
        transfer->fd = -1;
    }
}

const struct transfer_driver transfer_local = {.place = TRANSFER_LOCAL, .begin = begin, .end = end, .step = step, .due = due};
