/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read of an image for the first time since it was opened, in order: a boot, recorded. A read costs a look at a few bits.
 *
 * Pure; the owner serialises.
 */
#ifndef GCFS_TRACE_H
#define GCFS_TRACE_H

#include "image/bootset.h"

enum { TRACE_SPANS_MAX = 16384 };

struct trace;

/* Of an image of SIZE bytes, at NOW (ns); LIMIT: bytes that it may hold. -ENOMEM. */
int trace_new(uint64_t size, uint64_t limit, int64_t now, struct trace **ret);
void trace_free(struct trace *t); /* NULL is fine */

/* [OFFSET, OFFSET+LENGTH), within the image, is read at NOW. */
void trace_note(struct trace *t, uint64_t offset, uint64_t length, int64_t now);
bool trace_is_full(const struct trace *t);      /* nothing more is noted */
uint64_t trace_bytes(const struct trace *t);    /* whole chunks */
int64_t trace_grown_at(const struct trace *t);  /* when something was read that was not before; at first, when it was made */
bool trace_has(const struct trace *t, uint64_t offset);
int trace_set(const struct trace *t, struct bootset *ret); /* -ENOMEM */

#endif
