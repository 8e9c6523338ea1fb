/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What we speak of the kernel's FUSE protocol that <linux/fuse.h> may not have yet (Debian 12: 7.38): resending (7.40)
 * and passthrough (7.40, Linux 6.9). The kernel's ABI; it does not change.
 */
#ifndef GCFS_FUSE_ABI_H
#define GCFS_FUSE_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define GCFS_PASSTHROUGH (UINT64_C(1) << 37) /* of INIT's flags and flags2 together */
#define GCFS_HAS_RESEND (UINT64_C(1) << 39)
#define GCFS_UNIQUE_RESEND (UINT64_C(1) << 63) /* in the number of a request that was sent before */
#define GCFS_FOPEN_PASSTHROUGH (1u << 7)

enum {
    GCFS_NOTIFY_RESEND = 7,
    GCFS_INIT_OUT_MAX_STACK_DEPTH = 9, /* index of the 32-bit word in struct fuse_init_out */
};

/* The answer to OPEN with the backing id in its last word. */
struct gcfs_open_out {
    uint64_t fh;
    uint32_t open_flags;
    int32_t backing_id;
};

struct gcfs_backing_map {
    int32_t fd;
    uint32_t flags;
    uint64_t padding;
};
#define GCFS_DEV_IOC_BACKING_OPEN _IOW(229, 1, struct gcfs_backing_map)
#define GCFS_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)

#endif
