/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel is to forget. It is told on threads apart (inside a handler that would deadlock). Any thread, any lock. */
#ifndef GCFS_ENGINE_IMAGES_TELLER_H
#define GCFS_ENGINE_IMAGES_TELLER_H

#include <stdint.h>

/* What the engine tells the kernel, on a thread of its own; it may wait until the kernel is heard. */
struct kernel_notify {
    void (*forget_name)(void *context, const char *name);                               /* cached/NAME, incomplete/NAME are others now */
    void (*forget_bytes)(void *context, int64_t row, uint64_t offset, uint64_t length); /* drop these pages of the inode */
    void (*stop)(void *context); /* the others must not wait any more until the kernel is heard; any thread */
    void *context;
};

struct teller;
int teller_new(const struct kernel_notify *kernel, struct teller **ret);
void teller_finish(struct teller *t); /* waits until all is told. NULL is fine */
void teller_name(struct teller *t, const char *name); /* cached/NAME or incomplete/NAME is there no more, or is there now */
/* Pages that a reader has left behind: they go, or stay until the kernel takes them. */
void teller_behind(struct teller *t, int64_t row, uint64_t offset, uint64_t length);
/* Pages nobody must read any more: DONE(CONTEXT) is called, on another thread, once they are gone, which may be long. -ENOMEM: not at all. */
int teller_tail(struct teller *t, int64_t row, uint64_t offset, uint64_t length, void (*done)(void *context), void *context);

#endif
