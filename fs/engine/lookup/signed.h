/* SPDX-License-Identifier: Apache-2.0 */
/* Documents of digests that must be signed (checksum_keyring). On the digests thread. */
#ifndef GCFS_ENGINE_LOOKUP_SIGNED_H
#define GCFS_ENGINE_LOOKUP_SIGNED_H

#include <pthread.h>
#include <stddef.h>

#include "engine/images/shared.h"

/* What is gathered of a document. */
struct signed_text {
    char *bytes; /* NULL: nothing */
    size_t length, room;
};
int signed_gather(struct signed_text *t, const void *data, size_t length, size_t most); /* -EFBIG, -ENOMEM */
void signed_clear(struct signed_text *t);

/*
 * Is TEXT, the document NAME of ENDPOINT, signed by a key of the keyring, in itself or by a file beside it? 0: *TEXT is what was signed. -EBADMSG: it is
 * not, and WHY (SIGNED_WHY_MAX bytes) says so; else it cannot be known now. Asks the backend and runs gpgv: blocks.
 */
enum { SIGNED_WHY_MAX = 240, SIGNED_TEXT_MAX = 16 << 20 };
int signed_verify(struct engine *e, unsigned endpoint, const char *name, struct signed_text *text, char why[SIGNED_WHY_MAX]);

/* Whether documents are believed. Any thread; the lock is a leaf. */
struct signed_trust {
    pthread_mutex_t lock;
    char why[SIGNED_WHY_MAX]; /* not: why; "" else; protected by lock */
};
void signed_say(struct signed_trust *t, const char *why); /* in the log, when it is not what was said before */
void signed_why(struct signed_trust *t, char ret[SIGNED_WHY_MAX]);

#endif
