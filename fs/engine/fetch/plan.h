/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to fetch next: gaps of an image that are neither here nor under way, and how long a request should be. Pure.
 */
#ifndef GCFS_PLAN_H
#define GCFS_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/chunkmap.h"
#include "image/span.h"

/*
 * The first gap that begins in [FROM, TO), in whole chunks (the one FROM lies in included), at most MAX bytes (rounded up to a chunk)
 * and ending where bytes are here (MAP) or under way (BUSY, in no order, each on chunk boundaries) or at TO, rounded up to a chunk.
 */
bool plan_gap(const struct chunkmap *map, const struct span *busy, size_t busy_count, uint64_t from, uint64_t to, uint64_t max,
              struct span *ret);

/*
 * Bytes for one request of a whole fetch: as many as arrive in 16 times the wait for a first byte, so that the wait between two
 * requests on a connection costs 1/16 of it at most, and in a quarter of a second: between 2 MiB and 64 MiB. RATE: bytes a second of one connection; WAIT: ns.
 */
uint64_t plan_segment(uint64_t rate, int64_t wait);

/* Bytes to have ready for a reader who turns out to be sequential, when a first byte takes WAIT ns: what 100 MB/s bring meanwhile. */
uint64_t plan_window(int64_t wait, uint64_t least, uint64_t most);

#endif
