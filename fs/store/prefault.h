/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the page cache for bytes that are about to be written to a file, found ahead of the writer where that takes long.
 *
 * A write finds its memory a page at a time, on the processor it runs on. That is cheap as a rule. In a virtual machine that gives free
 * memory back to its host it is not: the first touch of every page waits for the host, which takes ten times as long as writing it. So while
 * writes prove dear, every second block ahead of the writer is touched by a thread: read through a mapping, which fills the hole that is
 * there with zeros, in the largest pieces the file system has. Two processors wait for the host then, each for half.
 */
#ifndef GCFS_PREFAULT_H
#define GCFS_PREFAULT_H

#include <stddef.h>
#include <stdint.h>

enum { PREFAULT_BLOCK = 2 << 20 }; /* what is touched at once: a large page of most machines */

struct prefault;

/* Starts the thread. -EAGAIN, -ENOMEM. */
int prefault_new(struct prefault **ret);
/*
 * Before a write of LENGTH bytes at OFFSET of FD, by its only writer there. Waits while the thread touches a block of it, as the write itself would have
 * to; what is asked for and not begun is left to the writer. So nobody reads of a block before the thread is done with it, and meets the
 * mark that the kernel leaves in it until then. AHEAD is the writer's, see below.
 */
void prefault_before(struct prefault *p, uint64_t ahead, int fd, uint64_t offset, size_t length);
/*
 * Writing LENGTH bytes at OFFSET of FD took NS of the thread's processor time, and all from there to END is a hole that will be written in
 * order. *AHEAD is the writer's, 0 at first: up to where blocks were touched for it. Of one thread only; does not block, fails silently.
 */
void prefault_wrote(struct prefault *p, uint64_t *ahead, int fd, uint64_t offset, size_t length, int64_t ns, uint64_t end);
/* Waits for what is under way. NULL is fine. */
void prefault_free(struct prefault *p);

#endif
