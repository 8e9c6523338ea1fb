/* SPDX-License-Identifier: Apache-2.0 */
/* A chunk map from disk: taken only when it fits the image; then every question about it is answered as bit by bit. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "image/chunkmap.h"

static void check(const struct chunkmap *map)
{
    uint64_t chunks = chunkmap_chunks(map), size = chunkmap_size(map), chunk = chunkmap_chunk_size(map), bytes = 0, missing = chunks;
    for (uint64_t c = chunks; c-- > 0;) {
        if (chunkmap_test(map, c))
            bytes += c + 1 < chunks ? chunk : size - c * chunk;
        else
            missing = c;
    }
    assert(chunkmap_present(map) == bytes && chunkmap_full(map) == (bytes == size));
    assert(chunkmap_next_missing(map, 0) == missing);
    assert(chunkmap_prefix(map) == (missing == chunks ? size : missing * chunk));
}

static void change(struct chunkmap *map, struct input *in)
{
    uint64_t chunks = chunkmap_chunks(map), chunk = chunkmap_chunk_size(map);
    while (in->size > 1 && chunks > 0) {
        uint64_t n = fuzz_number(in, 2), c = (n >> 2) % chunks, length = (n % 5) * chunk / 2;
        if (n & 1)
            chunkmap_set(map, c);
        else
            chunkmap_clear(map, c);
        assert(chunkmap_test(map, c) == (n & 1));
        bool all = true;
        for (uint64_t at = c; at < chunks && at * chunk < c * chunk + length; at++)
            all = all && chunkmap_test(map, at);
        assert(chunkmap_covers(map, c * chunk, length) == all);
        uint64_t present = chunkmap_next_present(map, c);
        assert(present >= c && (present == chunks || chunkmap_test(map, present)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint64_t image = fuzz_number(&in, 8);
    size_t length = fuzz_number(&in, 1), kept;
    struct chunkmap *map = NULL, *copy = NULL;
    if (length > in.size)
        length = in.size;
    char *bits = malloc(length + 1);
    assert(bits);
    memcpy(bits, in.data, length);
    int r = chunkmap_load(image, bits, length, &map);
    assert(r == 0 || ((r == -EBADMSG || r == -EFBIG) && !map));
    if (r == 0) {
        const void *again = chunkmap_bits(map, &kept);
        assert(kept == length && memcmp(again, bits, length) == 0);
        check(map);
        in.data += length;
        in.size -= length;
        change(map, &in);
        check(map);
        assert(chunkmap_copy(map, &copy) == 0);
        check(copy);
    }
    chunkmap_free(map);
    chunkmap_free(copy);
    free(bits);
    return 0;
}
