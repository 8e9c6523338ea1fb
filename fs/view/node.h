/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of nodes (inodes). One is the row of the catalogue it shows and what kind of row that is, so that nothing has to be remembered
 * towards the kernel: node = row << 3 | kind. Of a scratch file it is that file's own number. The folders and .status have fixed numbers.
 */
#ifndef GCFS_VIEW_NODE_H
#define GCFS_VIEW_NODE_H

#include <stdbool.h>
#include <stdint.h>

enum view_kind { KIND_FIXED, KIND_IMAGE, KIND_QUEUED, KIND_INVALID, KIND_NOT_QUEUED, KIND_SCRATCH, KIND_BOOTSET, KIND_HANDED };

enum {
    NODE_ROOT = 1, /* as FUSE has it; row 0 is no image's */
    NODE_IMAGES = 1 << 3,
    NODE_CACHED = 2 << 3,
    NODE_QUEUED = 3 << 3,
    NODE_INCOMPLETE = 4 << 3,
    NODE_INVALID = 5 << 3,
    NODE_STATUS = 6 << 3,
    NODE_GLANCE = 7 << 3,
    NODE_GLANCE_QUEUE = 8 << 3,
    NODE_GLANCE_INCOMPLETE = 9 << 3,
    NODE_GLANCE_INVALID = 10 << 3,
    NODE_NOVA = 11 << 3,
    NODE_BOOTSETS = 12 << 3,
    NODE_HANDED = 13 << 3,
};

static inline enum view_kind node_kind(uint64_t node) { return node == NODE_ROOT ? KIND_FIXED : (enum view_kind)(node & 7); }
static inline int64_t node_row(uint64_t node) { return (int64_t)(node >> 3); }
static inline uint64_t node_make(enum view_kind kind, int64_t row) { return (uint64_t)row << 3 | kind; }
static inline bool node_is_folder(uint64_t node) { return node_kind(node) == KIND_FIXED && node != NODE_STATUS; }

#endif
