/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading at a bounded rate: after each piece it sleeps for as long as it is ahead of the rate; a rest of at most a second's worth is
 * carried over, so that time spent elsewhere is not made up for by a burst.
 */
#include "config-auto.h"

#include "cleaner/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "common/progress.h"
#include "common/tool.h"

enum { PIECE = 1 << 20, PIECE_MIN = 64 << 10, DRAW_MS = 200 };

int verifier_begin(struct verifier *v, const struct cache_mount *mount, int cached, uint64_t rate, uint64_t images)
{
    *v = (struct verifier){.mount = mount, .cached = cached, .rate = rate, .images = images, .began = clock_monotonic(),
                           .buffer = malloc(PIECE)};
    v->due = v->began;
    return v->buffer == NULL ? -ENOMEM : 0;
}

void verifier_end(struct verifier *v)
{
    progress_clear();
    free(v->buffer);
    v->buffer = NULL;
}

/* ---- the rate */

/* A tenth of a second's worth at most, so that a low rate is even. */
static size_t piece(const struct verifier *v)
{
    uint64_t n = v->rate == 0 ? PIECE : v->rate / 10;
    return n > PIECE ? PIECE : n < PIECE_MIN ? PIECE_MIN : (size_t)n;
}

static void keep_rate(struct verifier *v, size_t length)
{
    v->bytes += length;
    if (v->rate == 0)
        return;
    int64_t now = clock_monotonic();
    if (v->due < now - NS_PER_S)
        v->due = now - NS_PER_S;
    v->due += (int64_t)((double)length / (double)v->rate * (double)NS_PER_S);
    if (v->due > now)
        tool_sleep(v->due - now);
}

static void draw(struct verifier *v, const char *name, uint64_t bytes, uint64_t size)
{
    char lines[1024];
    size_t rows, columns;
    int64_t now = clock_monotonic();
    if (!progress_wanted() || now - v->drawn < DRAW_MS * NS_PER_MS)
        return;
    v->drawn = now;
    progress_room(&rows, &columns);
    uint64_t rate = (uint64_t)((double)v->bytes / ((double)(now - v->began + 1) / (double)NS_PER_S));
    progress_line(name, bytes, size, rate, columns, lines, sizeof(lines));
    size_t used = strlen(lines);
    snprintf(lines + used, sizeof(lines) - used, "verified %llu of %llu images\n", (unsigned long long)v->images_done,
             (unsigned long long)v->images);
    progress_show(lines);
}

/* ---- one image */

/* The strongest digest that is known of it; DIGEST_NONE. */
static int known_digest(const struct verifier *v, const char *name, struct digest *ret)
{
    char algorithm[32], value[DIGEST_HEX_MAX + 1], md5[DIGEST_HEX_MAX + 1];
    struct digest digest = {.algorithm = DIGEST_NONE};
    int r = cache_mount_attribute(v->mount, "cached", name, "os_hash_algo", algorithm, sizeof(algorithm));
    if (r == 0)
        r = cache_mount_attribute(v->mount, "cached", name, "os_hash_value", value, sizeof(value));
    if (r == 0)
        r = cache_mount_attribute(v->mount, "cached", name, "checksum", md5, sizeof(md5));
    if (r < 0)
        return r;
    if (digest_set(digest_algorithm_by_name(algorithm), value, strlen(value), &digest) < 0 &&
        digest_set(DIGEST_MD5, md5, strlen(md5), &digest) < 0)
        digest.algorithm = DIGEST_NONE;
    *ret = digest;
    return 0;
}

/* O_NOATIME is for the owner and for root. */
static int open_unused(const struct verifier *v, const char *name)
{
    int fd = openat(v->cached, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
    if (fd < 0 && errno == EPERM)
        fd = openat(v->cached, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int read_all(struct verifier *v, int fd, const char *name, uint64_t size, struct digest_stream *stream)
{
    uint64_t at = 0;
    int r = 0;
    while (r == 0) {
        ssize_t n = pread(fd, v->buffer, piece(v), (off_t)at);
        if (n < 0 && errno == EINTR && !tool_stopping())
            continue;
        if (n <= 0 || tool_stopping())
            return tool_stopping() ? -EINTR : n < 0 ? -errno : 0;
        r = digest_stream_update(stream, v->buffer, (size_t)n);
        posix_fadvise(fd, (off_t)at, n, POSIX_FADV_DONTNEED); /* the others' pages are worth more */
        at += (uint64_t)n;
        keep_rate(v, (size_t)n);
        draw(v, name, at, size);
    }
    return r;
}

static int hash(struct verifier *v, int fd, const char *name, uint64_t size, enum digest_algorithm algorithm, struct digest *ret)
{
    struct digest_stream *stream;
    int r = digest_stream_new(algorithm, &stream);
    if (r < 0)
        return r;
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    r = read_all(v, fd, name, size, stream);
    if (r == 0)
        r = digest_stream_finish(stream, ret);
    digest_stream_free(stream);
    return r;
}

static int compare(struct verifier *v, int fd, const char *name, const struct digest *expected, struct verified *ret)
{
    struct digest seen;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    ret->inode = st.st_ino;
    int r = hash(v, fd, name, (uint64_t)st.st_size, expected->algorithm, &seen);
    if (r == -EIO) {
        ret->result = VERIFY_ROTTEN;
        snprintf(ret->why, sizeof(ret->why), "it cannot be read to its end");
        return 0;
    }
    if (r < 0)
        return r;
    ret->result = digest_equal(&seen, expected) ? VERIFY_RIGHT : VERIFY_ROTTEN;
    if (ret->result == VERIFY_ROTTEN)
        snprintf(ret->why, sizeof(ret->why), "its %s is %.16s…, expected %.16s…", digest_algorithm_name(seen.algorithm), seen.hex,
                 expected->hex);
    return 0;
}

int verify_image(struct verifier *v, const char *name, struct verified *ret)
{
    struct verified verified = {.result = VERIFY_GONE};
    struct digest expected;
    int r = known_digest(v, name, &expected);
    v->images_done++;
    if (r == 0 && expected.algorithm == DIGEST_NONE) {
        verified.result = VERIFY_NO_DIGEST;
    } else if (r == 0) {
        int fd = open_unused(v, name);
        r = fd < 0 ? fd : compare(v, fd, name, &expected, &verified);
        if (fd >= 0)
            close(fd);
    }
    if (r < 0 && r != -ENOENT && r != -ESTALE)
        return r;
    *ret = verified;
    return 0;
}
