/* SPDX-License-Identifier: Apache-2.0 */
/* A boot that ended becomes part of the set of its name. All of these block on the disk, and are called without a lock. */
#ifndef GCFS_ENGINE_BOOTSET_LEARN_H
#define GCFS_ENGINE_BOOTSET_LEARN_H

#include "image/trace.h"
#include "process/ledger.h"
#include "store/bootsets.h"

int learn_load(struct store *store, const char *name, struct bootset *ret); /* -ENOENT; -EBADMSG, which is said in the log */
int learn_save(struct store *store, const char *name, const struct bootset *set);
/* What was read and REPLAYED (NULL: nothing) of NAME; counted. A set is LIMIT bytes at most. Was one written? */
bool learn_boot(struct store *store, struct ledger *ledger, const char *name, const struct trace *trace, const struct chunkmap *replayed,
                uint64_t limit);

#endif
