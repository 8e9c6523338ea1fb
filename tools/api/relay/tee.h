/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Uploads, kept in the cache as they pass. The bytes go through a buffer of TEE_BUFFER to a thread of its own, which writes them into the mount:
 * when that does not keep up, the upload waits for TEE_PATIENCE_MS in all, and is then not kept. The mount makes an image of it only if the backend
 * says that it has the same.
 */
#ifndef GCFS_API_TEE_H
#define GCFS_API_TEE_H

#include <stdbool.h>
#include <stddef.h>

enum { TEES_MAX = 8, TEE_BUFFER = 2 * 1024 * 1024, TEE_PATIENCE_MS = 1000 };

struct tees; /* of one server. Any thread */
struct tee;  /* of one upload: the functions below belong to the thread of its connection */

struct tees *tees_new(const char *mount); /* MOUNT stays; NULL: no memory */
void tees_free(struct tees *t); /* no upload is under way; waits a moment for what is still written. NULL is fine */

struct tee *tee_begin(struct tees *t, const char *id); /* ID is copied; NULL: it is not kept. Does not block */
void tee_piece(struct tee *tee, const char *bytes, size_t length); /* NULL is fine, here and below */
/* GOOD: Glance has taken all of it. The tee is gone; what is left to write is written. Does not block. */
void tee_end(struct tee *tee, bool good);

#endif
