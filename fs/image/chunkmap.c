/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The chunk map: the bits as they stand on disk, the number of them that are set, and the first that is not.
 *
 * Invariants: PRESENT counts the set bits; FIRST_MISSING is the first clear bit (CHUNKS when there is none); bits at
 * CHUNKS and beyond, up to the end of the buffer (a multiple of 8 bytes, so that it can be searched by words), are
 * clear.
 */
#include "config-auto.h"

#include "image/chunkmap.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct chunkmap {
    uint64_t size;
    uint64_t chunk_size;
    uint64_t chunks;
    uint64_t present; /* chunks */
    uint64_t first_missing;
    size_t length; /* bytes of the on-disk form */
    size_t words;
    unsigned char *bits;
};

static uint64_t divide_up(uint64_t a, uint64_t b)
{
    return a / b + (a % b != 0);
}

uint64_t chunk_size_of(uint64_t size)
{
    uint64_t chunk_size = CHUNK_MIN;
    while (divide_up(size, chunk_size) > (uint64_t)CHUNKMAP_MAX_BYTES * 8)
        chunk_size *= 2;
    return chunk_size;
}

int chunkmap_new(uint64_t size, struct chunkmap **ret)
{
    if (size > UINT64_C(1) << 62)
        return -EFBIG;
    struct chunkmap *map = calloc(1, sizeof *map);
    if (map == NULL)
        return -ENOMEM;
    map->size = size;
    map->chunk_size = chunk_size_of(size);
    map->chunks = divide_up(size, map->chunk_size);
    map->length = divide_up(map->chunks, 8);
    map->words = divide_up(map->chunks, 64);
    map->bits = calloc(map->words > 0 ? map->words : 1, 8);
    if (map->bits == NULL) {
        free(map);
        return -ENOMEM;
    }
    *ret = map;
    return 0;
}

/* 64 bits of the map, chunk 64 * INDEX in bit 0. */
static uint64_t word_at(const struct chunkmap *map, size_t index)
{
    uint64_t word;
    memcpy(&word, map->bits + index * 8, 8);
    return le64toh(word);
}

int chunkmap_merge(struct chunkmap *map, const void *bits, size_t length)
{
    const unsigned char *more = bits;
    unsigned used_bits = map->chunks % 8; /* of the last byte; 0: all of them */
    if (length != map->length || (used_bits != 0 && more[length - 1] >> used_bits != 0))
        return -EBADMSG;
    for (size_t i = 0; i < length; i++)
        map->bits[i] |= more[i];
    map->present = 0;
    for (size_t i = 0; i < map->words; i++)
        map->present += (uint64_t)__builtin_popcountll(word_at(map, i));
    map->first_missing = chunkmap_next_missing(map, 0);
    return 0;
}

int chunkmap_load(uint64_t size, const void *bits, size_t length, struct chunkmap **ret)
{
    struct chunkmap *map;
    int r = chunkmap_new(size, &map);
    if (r < 0)
        return r;
    r = chunkmap_merge(map, bits, length);
    if (r < 0) {
        chunkmap_free(map);
        return r;
    }
    *ret = map;
    return 0;
}

int chunkmap_copy(const struct chunkmap *map, struct chunkmap **ret)
{
    return chunkmap_load(map->size, map->bits, map->length, ret);
}

void chunkmap_free(struct chunkmap *map)
{
    if (map == NULL)
        return;
    free(map->bits);
    free(map);
}

const void *chunkmap_bits(const struct chunkmap *map, size_t *ret_length)
{
    *ret_length = map->length;
    return map->bits;
}

uint64_t chunkmap_size(const struct chunkmap *map)
{
    return map->size;
}

uint64_t chunkmap_chunk_size(const struct chunkmap *map)
{
    return map->chunk_size;
}

uint64_t chunkmap_chunks(const struct chunkmap *map)
{
    return map->chunks;
}

uint64_t chunkmap_present(const struct chunkmap *map)
{
    if (map->present == 0)
        return 0;
    uint64_t bytes = map->present * map->chunk_size;
    if (chunkmap_test(map, map->chunks - 1))
        bytes -= map->chunks * map->chunk_size - map->size; /* what the last chunk is short of */
    return bytes;
}

bool chunkmap_full(const struct chunkmap *map)
{
    return map->present == map->chunks;
}

bool chunkmap_test(const struct chunkmap *map, uint64_t chunk)
{
    assert(chunk < map->chunks);
    return (map->bits[chunk / 8] >> (chunk % 8)) & 1;
}

void chunkmap_set(struct chunkmap *map, uint64_t chunk)
{
    if (chunkmap_test(map, chunk))
        return;
    map->bits[chunk / 8] = (unsigned char)(map->bits[chunk / 8] | 1U << (chunk % 8));
    map->present++;
    if (chunk == map->first_missing)
        map->first_missing = chunkmap_next_missing(map, chunk + 1);
}

void chunkmap_clear(struct chunkmap *map, uint64_t chunk)
{
    if (!chunkmap_test(map, chunk))
        return;
    map->bits[chunk / 8] = (unsigned char)(map->bits[chunk / 8] & ~(1U << (chunk % 8)));
    map->present--;
    if (chunk < map->first_missing)
        map->first_missing = chunk;
}

/* The first chunk ≥ FROM that is here (WANTED) or missing (not WANTED); the number of chunks when there is none. */
static uint64_t next(const struct chunkmap *map, uint64_t from, bool wanted)
{
    if (from >= map->chunks)
        return map->chunks;
    uint64_t flip = wanted ? 0 : UINT64_MAX;
    size_t index = (size_t)(from / 64);
    uint64_t word = (word_at(map, index) ^ flip) & UINT64_MAX << (from % 64);
    while (word == 0) {
        if (++index == map->words)
            return map->chunks;
        word = word_at(map, index) ^ flip;
    }
    uint64_t chunk = (uint64_t)index * 64 + (uint64_t)__builtin_ctzll(word);
    return chunk < map->chunks ? chunk : map->chunks;
}

uint64_t chunkmap_next_missing(const struct chunkmap *map, uint64_t from)
{
    return next(map, from, false);
}

uint64_t chunkmap_next_present(const struct chunkmap *map, uint64_t from)
{
    return next(map, from, true);
}

bool chunkmap_covers(const struct chunkmap *map, uint64_t offset, uint64_t length)
{
    if (offset >= map->size || length == 0)
        return true;
    uint64_t last = length > map->size - offset ? map->size - 1 : offset + length - 1;
    return chunkmap_next_missing(map, offset / map->chunk_size) > last / map->chunk_size;
}

uint64_t chunkmap_prefix(const struct chunkmap *map)
{
    return map->first_missing == map->chunks ? map->size : map->first_missing * map->chunk_size;
}
