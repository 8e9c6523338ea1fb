/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE passthrough, the worker's side: the kernel reads a complete image's file by itself. Registering a file needs CAP_SYS_ADMIN, so
 * the descriptor goes to the keeper over their socket, and the keeper keeps one backing id an open inode, across workers; a new worker tells it which rows still have handles, so that none leaks.
 */
#ifndef GCFS_PASSTHROUGH_H
#define GCFS_PASSTHROUGH_H

#include <stdint.h>

struct passthrough; /* NULL: off */

/* The backing id (> 0) of ROW's file FD. Asks the keeper unless this worker knows it. -errno: open it without passthrough.
 * Any FUSE thread; waits for the keeper. */
int passthrough_open(struct passthrough *p, int64_t row, int fd);
/* The last handle of ROW is closed: the keeper drops the id. Any thread. */
void passthrough_close(struct passthrough *p, int64_t row);
/* "on", or why not ("the kernel is older than 6.9", "not started by root", "passthrough = off"). Never NULL, P may be. */
const char *passthrough_state(const struct passthrough *p);

#endif
