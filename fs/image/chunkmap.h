/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which chunks of an image are in its file: one bit a chunk.
 *
 * A chunk is the smallest power of two ≥ 64 KiB that keeps the map ≤ 64 KiB (2^19 chunks): 64 KiB up to an image of
 * 32 GiB, 128 KiB up to 64 GiB, and so on. The last chunk may be short. On disk the map is the bare bits, chunk 0 in
 * bit 0 of byte 0, ceil(chunks / 8) bytes, unused bits zero.
 *
 * Pure: no I/O, no lock; the owner of a map serialises access to it.
 */
#ifndef GCFS_CHUNKMAP_H
#define GCFS_CHUNKMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct chunkmap;

enum { CHUNK_MIN = 64 * 1024, CHUNKMAP_MAX_BYTES = 64 * 1024 };

/* Bytes of one chunk of an image of SIZE bytes. */
uint64_t chunk_size_of(uint64_t size);

/* An empty map for an image of SIZE bytes (0 is legal: no chunks, and full). -ENOMEM; -EFBIG when SIZE > 2^62. */
int chunkmap_new(uint64_t size, struct chunkmap **ret);
/* A map from its on-disk form; -EBADMSG when LENGTH or an unused bit does not fit SIZE. */
int chunkmap_load(uint64_t size, const void *bits, size_t length, struct chunkmap **ret);
/* Sets what is set in BITS, too. -EBADMSG as above. */
int chunkmap_merge(struct chunkmap *map, const void *bits, size_t length);
int chunkmap_copy(const struct chunkmap *map, struct chunkmap **ret);
void chunkmap_free(struct chunkmap *map); /* NULL is fine */

/* The on-disk form, valid until the map is changed or freed. */
const void *chunkmap_bits(const struct chunkmap *map, size_t *ret_length);

uint64_t chunkmap_size(const struct chunkmap *map);       /* bytes of the image */
uint64_t chunkmap_chunk_size(const struct chunkmap *map); /* bytes of a chunk */
uint64_t chunkmap_chunks(const struct chunkmap *map);     /* how many there are */
uint64_t chunkmap_present(const struct chunkmap *map);    /* bytes that are here, the short last chunk counted right */
bool chunkmap_full(const struct chunkmap *map);

bool chunkmap_test(const struct chunkmap *map, uint64_t chunk); /* CHUNK < chunks */
void chunkmap_set(struct chunkmap *map, uint64_t chunk);
void chunkmap_clear(struct chunkmap *map, uint64_t chunk);

/* The first chunk ≥ FROM that is missing / present; the number of chunks when there is none. */
uint64_t chunkmap_next_missing(const struct chunkmap *map, uint64_t from);
uint64_t chunkmap_next_present(const struct chunkmap *map, uint64_t from);

/* Are all bytes of [OFFSET, OFFSET+LENGTH) here? The part beyond the image's end does not count. */
bool chunkmap_covers(const struct chunkmap *map, uint64_t offset, uint64_t length);

/* Bytes present without a gap from offset 0. Constant time while the map only grows. */
uint64_t chunkmap_prefix(const struct chunkmap *map);

#endif
