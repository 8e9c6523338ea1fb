/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes into a file, written in pieces that are read fast later.
 *
 * The page cache keeps a file in folios as large as the aligned writes that made it, and small ones are read at about half the speed of
 * large ones. So what nobody waits for yet is gathered and written a folio at a time, and read at the speed of any other file. One thread only.
 */
#ifndef GCFS_WRITER_H
#define GCFS_WRITER_H

#include <stddef.h>
#include <stdint.h>

enum { WRITER_FOLIO = 512 << 10 };

struct prefault;

/* Zeroed, then these are filled. */
struct writer {
    int fd;                                          /* the owner's */
    struct prefault *prefault;                       /* NULL: memory is not found ahead */
    unsigned char *buffer;                           /* WRITER_FOLIO bytes, the owner's; NULL: all is written as it comes */
    void (*written)(void *context, uint64_t length); /* after each write: LENGTH bytes more are in the file */
    void *context;
    /* the writer's: */
    size_t gathered;     /* bytes in the buffer */
    uint64_t prefaulted; /* memory was found up to there */
};

/*
 * The next LENGTH bytes. POS: up to where all is in the file; what was gathered before lies behind it. END: of the stream, so that its last
 * piece is written, too. Blocks on the disk. 0; -ENOSPC, -EDQUOT, -EIO: then what was gathered is forgotten, and POS + what WRITTEN told is there.
 */
int writer_put(struct writer *w, uint64_t pos, uint64_t end, const unsigned char *bytes, size_t length);
/* Writes the first LENGTH of the gathered bytes (at most all). As writer_put(). */
int writer_flush(struct writer *w, uint64_t pos, uint64_t end, size_t length);

#endif
