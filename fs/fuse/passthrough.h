/* SPDX-License-Identifier: Apache-2.0 */
/*
 * FUSE passthrough, the worker's side: the kernel reads a complete image's file by itself. Registering a file needs
 * CAP_SYS_ADMIN, so the descriptor goes to the keeper over a socket; the keeper keeps one backing id an open inode,
 * across workers.
 */
#ifndef GCFS_PASSTHROUGH_H
#define GCFS_PASSTHROUGH_H

#include <stdbool.h>
#include <stdint.h>

#include "process/ledger.h"

struct passthrough; /* NULL: off */

/* SOCKET (taken over) leads to the keeper. NULL: no memory. */
struct passthrough *passthrough_new(int socket, struct ledger *ledger);
void passthrough_free(struct passthrough *p); /* NULL is fine */

/* Is passthrough worth a try for an image that nobody has open? */
bool passthrough_wanted(const struct passthrough *p);
/*
 * The backing id (> 0) of ROW's file FD, for HANDLE, which the ledger holds already in passthrough mode. Asks the keeper unless this worker
 * knows it. 0: the kernel does not take the file, and the ledger has all handles of ROW in caching mode now. -errno: the keeper could not be
 * asked. Any FUSE thread; waits for the keeper.
 */
int passthrough_open(struct passthrough *p, int64_t row, uint64_t handle, int fd);
/* A handle of ROW was closed: when the ledger holds no more of them, the keeper drops the id. Any thread. */
void passthrough_close(struct passthrough *p, int64_t row);
/* "on", or why not: for .status. P is not NULL. The text is never freed. */
const char *passthrough_state(const struct passthrough *p);

#endif
