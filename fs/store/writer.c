/* SPDX-License-Identifier: Apache-2.0 */
/* Gathering and writing; see writer.h. */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/prefault.h"
#include "store/writer.h"

static int write_all(int fd, const unsigned char *data, size_t length, uint64_t offset)
{
    while (length > 0) {
        ssize_t n = pwrite(fd, data, length, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        data += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return 0;
}

static int64_t thread_time(void)
{
    struct timespec now = {0};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * NS_PER_S + now.tv_nsec;
}

static int keep(struct writer *w, uint64_t pos, uint64_t end, const unsigned char *bytes, size_t length)
{
    if (w->prefault != NULL)
        prefault_before(w->prefault, w->prefaulted, w->fd, pos, length);
    int64_t began = thread_time();
    int r = write_all(w->fd, bytes, length, pos);
    if (r < 0)
        return r;
    if (w->prefault != NULL)
        prefault_wrote(w->prefault, &w->prefaulted, w->fd, pos, length, thread_time() - began, end);
    w->written(w->context, length);
    return 0;
}

int writer_flush(struct writer *w, uint64_t pos, uint64_t end, size_t length)
{
    assert(length <= w->gathered);
    size_t rest = w->gathered - length;
    w->gathered = 0; /* also when it fails: the owner's pos says what is there */
    int r = length == 0 ? 0 : keep(w, pos, end, w->buffer, length);
    if (r == 0 && rest > 0) {
        memmove(w->buffer, w->buffer + length, rest);
        w->gathered = rest;
    }
    return r;
}

int writer_put(struct writer *w, uint64_t pos, uint64_t end, const unsigned char *bytes, size_t length)
{
    int r = 0;
    if (w->buffer == NULL)
        return length == 0 ? 0 : keep(w, pos, end, bytes, length);
    while (length > 0 && r == 0) {
        uint64_t at = pos + w->gathered;
        uint64_t boundary = (at / WRITER_FOLIO + 1) * WRITER_FOLIO < end ? (at / WRITER_FOLIO + 1) * WRITER_FOLIO : end;
        size_t n = length < boundary - at ? length : (size_t)(boundary - at);
        if (w->gathered == 0 && at + n == boundary) {
            r = keep(w, pos, end, bytes, n);
        } else {
            memcpy(w->buffer + w->gathered, bytes, n);
            w->gathered += n;
            if (at + n == boundary)
                r = writer_flush(w, pos, end, w->gathered);
        }
        if (at + n == boundary)
            pos = boundary;
        bytes += n;
        length -= n;
    }
    return r;
}
