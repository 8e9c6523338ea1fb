/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Images that are handed in: their bytes come from who uploads them to the backend, and not from there. They count when the backend says that
 * they are what it has. A file has no name on the disk until then; what is not handed over when its writer closes it is gone.
 *
 * States of one: being written; handed over, being looked at; in the cache, or dropped. The table has a lock of its own, not held while the
 * disk or the backend is waited for.
 */
#ifndef GCFS_ENGINE_HANDED_H
#define GCFS_ENGINE_HANDED_H

#include "engine/images/shared.h"

enum { HANDED_MAX = 8 };

struct handed_table;

int handed_new(struct handed_table **ret); /* its thread, too. -EAGAIN, -ENOMEM */
void handed_finish(struct handed_table *t); /* waits for what is being looked at; NULL is fine */
void handed_free(struct handed_table *t);   /* after it; NULL is fine */

#endif
