/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the harnesses share. Each is one file: LLVMFuzzerTestOneInput() hands what libFuzzer made to one parser and asserts
 * what must be true of any input. Copies are exact, so that AddressSanitizer sees a read beyond the end. Included once.
 */
#ifndef GCFS_FUZZ_H
#define GCFS_FUZZ_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A part of the input that was not used yet. */
struct input { const uint8_t *data; size_t size; };

static inline uint64_t fuzz_number(struct input *in, unsigned bytes)
{
    uint64_t n = 0;
    for (; bytes > 0 && in->size > 0; bytes--, in->data++, in->size--)
        n = n << 8 | *in->data;
    return n;
}

/* LENGTH bytes as a text, which ends at a NUL among them; free() it. */
static inline char *fuzz_text(const void *data, size_t length)
{
    char *text = strndup(length > 0 ? data : "", length);
    assert(text);
    return text;
}

/* The next line, without its newline; the rest when there is no newline. free() it. */
static inline char *fuzz_line(struct input *in)
{
    const uint8_t *newline = in->size > 0 ? memchr(in->data, '\n', in->size) : NULL;
    size_t length = newline ? (size_t) (newline - in->data) : in->size;
    char *line = fuzz_text(in->data, length);
    in->data += length + (newline != NULL);
    in->size -= length + (newline != NULL);
    return line;
}

/* A file that holds DATA, until the next call: the path is always the same and nothing lies on a disk. */
static inline const char *fuzz_file(const void *data, size_t size)
{
    enum { FD = 200 };
    static char path[64];
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    assert(fd >= 0 && dup2(fd, FD) == FD);
    close(fd);
    for (size_t done = 0; done < size;) {
        ssize_t n = write(FD, (const char *) data + done, size - done);
        assert(n > 0);
        done += (size_t) n;
    }
    snprintf(path, sizeof(path), "/proc/self/fd/%d", FD);
    return path;
}

/* FNV-1a, to compare what was told without keeping it. */
static inline uint64_t fuzz_hash(uint64_t hash, const void *data, size_t size)
{
    for (const uint8_t *c = data; size > 0; c++, size--)
        hash = (hash ^ *c) * UINT64_C(1099511628211);
    return hash;
}

#endif
