/* SPDX-License-Identifier: Apache-2.0 */
/* Management of the cache, by what the view offers. Any thread; may block on the mount. -errno as in mount.h. */
#ifndef GCFS_API_MANAGE_H
#define GCFS_API_MANAGE_H

#include <stdint.h>
#include <stdio.h>

#include "api/cache/mount.h"
#include "pruner/prune.h"

/* Writes the JSON arrays of the calls: cached images with hits, times and size; names of queued ones, the first queued first. */
int manage_write_cached(const char *mount, FILE *out);
int manage_write_queued(const char *mount, FILE *out);

/* Removes every entry of a folder. What vanishes meanwhile does not count. */
int manage_clear(const char *mount, enum mount_folder folder, uint64_t *ret_removed);

/*
 * Evicts the least recently used, pinned ones excepted and open ones last, until the cache is within the limit that the mount has now. Waits for a pruner
 * that is at work.
 */
int manage_prune(const char *mount, struct pruned *ret);

/* Empties invalid/, and removes from incomplete/ what nobody reads and what made no progress for STALL_TIME seconds. */
int manage_clean(const char *mount, uint64_t stall_time);

#endif
