/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's backing ids: the files that the kernel reads by itself, one id an open inode, whatever worker asked for
 * it. The kernel holds the files; no descriptor is kept here.
 *
 * The kernel opens a backing file with our rights, for whatever the reader's mode is: so only files that are the worker's anyway are
 * taken, regular ones of the cache directory's file system and owner.
 *
 * The keeper's one thread; no lock.
 */
#ifndef GCFS_BACKING_H
#define GCFS_BACKING_H

#include "process/ledger.h"

struct backings;

/* The ids of the mount behind FUSE_FD (which stays the caller's), for files of the cache directory DIR. -errno. */
int backings_new(int fuse_fd, const char *dir, struct backings **ret);
void backings_free(struct backings *b); /* the kernel drops the ids with the connection. NULL is fine. */

/* Does what one message on SOCKET asks. -EAGAIN: there is none; -EPIPE: the worker is gone. */
int backings_serve(struct backings *b, int socket);
/*
 * Before a new worker starts: drops the ids whose inode nobody has open. The one before may have died between two
 * messages.
 */
void backings_sweep(struct backings *b, struct ledger *ledger);

#endif
