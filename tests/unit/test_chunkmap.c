/* SPDX-License-Identifier: Apache-2.0 */
/* The chunk map: its sizes, its on-disk form, and random operations against an array of bool. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/chunkmap.h"

#define KIB UINT64_C(1024)
#define GIB (KIB * KIB * KIB)
#define CHUNK ((uint64_t)CHUNK_MIN)

static struct chunkmap *new_map(uint64_t size)
{
    struct chunkmap *map;
    assert_int_equal(chunkmap_new(size, &map), 0);
    return map;
}

static void chunks_are_the_smallest_power_that_fits(void **state)
{
    (void)state;
    assert_int_equal(chunk_size_of(0), 64 * KIB);
    assert_int_equal(chunk_size_of(1), 64 * KIB);
    assert_int_equal(chunk_size_of(32 * GIB), 64 * KIB);
    assert_int_equal(chunk_size_of(32 * GIB + 1), 128 * KIB);
    assert_int_equal(chunk_size_of(64 * GIB), 128 * KIB);
    assert_int_equal(chunk_size_of(64 * GIB + 1), 256 * KIB);
    assert_int_equal(chunk_size_of(UINT64_C(1) << 62), UINT64_C(1) << 43);
    assert_int_equal(chunk_size_of(UINT64_MAX), UINT64_C(1) << 45);
}

static void the_map_never_exceeds_64_kib(void **state)
{
    static const uint64_t sizes[] = {1, 65536, 65537, 32 * GIB, 32 * GIB + 1, 1000 * GIB, UINT64_C(1) << 62};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct chunkmap *map = new_map(sizes[i]);
        size_t length;
        chunkmap_bits(map, &length);
        assert_int_equal(length, (chunkmap_chunks(map) + 7) / 8);
        assert_true(length <= CHUNKMAP_MAX_BYTES);
        assert_true((chunkmap_chunks(map) - 1) * chunkmap_chunk_size(map) < sizes[i]);
        assert_true(chunkmap_chunks(map) * chunkmap_chunk_size(map) >= sizes[i]);
        chunkmap_free(map);
    }
}

static void too_large_is_refused(void **state)
{
    struct chunkmap *map = (void *)state;
    assert_int_equal(chunkmap_new((UINT64_C(1) << 62) + 1, &map), -EFBIG);
    assert_int_equal(chunkmap_new(UINT64_MAX, &map), -EFBIG);
    assert_int_equal(chunkmap_load(UINT64_MAX, "", 0, &map), -EFBIG);
    assert_ptr_equal(map, state);
    chunkmap_free(NULL);
}

static void an_empty_image_is_full(void **state)
{
    struct chunkmap *map = new_map(0), *loaded;
    size_t length = 1;
    (void)state;
    assert_true(chunkmap_full(map));
    assert_int_equal(chunkmap_chunks(map), 0);
    assert_int_equal(chunkmap_present(map), 0);
    assert_int_equal(chunkmap_prefix(map), 0);
    assert_int_equal(chunkmap_next_missing(map, 0), 0);
    assert_int_equal(chunkmap_next_present(map, 0), 0);
    assert_true(chunkmap_covers(map, 0, UINT64_MAX));
    assert_non_null(chunkmap_bits(map, &length));
    assert_int_equal(length, 0);
    assert_int_equal(chunkmap_load(0, NULL, 0, &loaded), 0);
    assert_true(chunkmap_full(loaded));
    chunkmap_free(loaded);
    chunkmap_free(map);
}

static void a_short_last_chunk_counts_its_bytes(void **state)
{
    struct chunkmap *map = new_map(2 * CHUNK + 5);
    (void)state;
    assert_int_equal(chunkmap_size(map), 2 * CHUNK + 5);
    assert_int_equal(chunkmap_chunks(map), 3);
    chunkmap_set(map, 2);
    assert_int_equal(chunkmap_present(map), 5);
    assert_int_equal(chunkmap_prefix(map), 0);
    chunkmap_set(map, 0);
    assert_int_equal(chunkmap_present(map), CHUNK + 5);
    assert_int_equal(chunkmap_prefix(map), CHUNK);
    assert_false(chunkmap_full(map));
    chunkmap_set(map, 1);
    assert_true(chunkmap_full(map));
    assert_int_equal(chunkmap_present(map), 2 * CHUNK + 5);
    assert_int_equal(chunkmap_prefix(map), 2 * CHUNK + 5);
    chunkmap_clear(map, 2);
    assert_int_equal(chunkmap_prefix(map), 2 * CHUNK);
    chunkmap_free(map);
}

static void covers_goes_by_bytes(void **state)
{
    struct chunkmap *map = new_map(3 * CHUNK + 10);
    (void)state;
    chunkmap_set(map, 1);
    chunkmap_set(map, 3);
    assert_true(chunkmap_covers(map, CHUNK, CHUNK));
    assert_true(chunkmap_covers(map, CHUNK + 1, CHUNK - 1));
    assert_false(chunkmap_covers(map, CHUNK - 1, 1));
    assert_false(chunkmap_covers(map, CHUNK - 1, 2));
    assert_false(chunkmap_covers(map, CHUNK, CHUNK + 1));
    assert_true(chunkmap_covers(map, 0, 0));
    assert_true(chunkmap_covers(map, 3 * CHUNK, UINT64_MAX)); /* offset + length overflows */
    assert_true(chunkmap_covers(map, 3 * CHUNK + 10, 1));
    assert_true(chunkmap_covers(map, UINT64_MAX, UINT64_MAX));
    assert_false(chunkmap_covers(map, 2 * CHUNK, UINT64_MAX));
    chunkmap_free(map);
}

static void the_disk_form_is_bits_from_the_low_end(void **state)
{
    struct chunkmap *map = new_map(18 * CHUNK), *loaded;
    static const unsigned char expected[3] = {0x81, 0x01, 0x02};
    size_t length;
    (void)state;
    chunkmap_set(map, 0);
    chunkmap_set(map, 7);
    chunkmap_set(map, 8);
    chunkmap_set(map, 17);
    assert_memory_equal(chunkmap_bits(map, &length), expected, 3);
    assert_int_equal(length, 3);
    assert_int_equal(chunkmap_load(18 * CHUNK, expected, 3, &loaded), 0);
    assert_true(chunkmap_test(loaded, 17));
    assert_int_equal(chunkmap_present(loaded), 4 * CHUNK);
    assert_int_equal(chunkmap_prefix(loaded), CHUNK);
    chunkmap_free(loaded);
    chunkmap_free(map);
}

static void a_disk_form_that_does_not_fit_is_refused(void **state)
{
    static const unsigned char bits[4] = {0xff, 0xff, 0x04, 0};
    struct chunkmap *map = (void *)state;
    assert_int_equal(chunkmap_load(18 * CHUNK, bits, 2, &map), -EBADMSG);
    assert_int_equal(chunkmap_load(18 * CHUNK, bits, 4, &map), -EBADMSG);
    assert_int_equal(chunkmap_load(18 * CHUNK, bits, 0, &map), -EBADMSG);
    assert_int_equal(chunkmap_load(18 * CHUNK, bits, 3, &map), -EBADMSG); /* bit 18 */
    assert_int_equal(chunkmap_load(0, bits, 1, &map), -EBADMSG);
    assert_ptr_equal(map, state);
    assert_int_equal(chunkmap_load(19 * CHUNK, bits, 3, &map), 0);
    chunkmap_free(map);
    assert_int_equal(chunkmap_load(16 * CHUNK, bits, 2, &map), 0);
    assert_true(chunkmap_full(map));
    chunkmap_free(map);
}

static void merging_adds_what_the_other_has(void **state)
{
    static const unsigned char bits[3] = {0x06, 0x00, 0x02}, beyond[3] = {0, 0, 0x04};
    struct chunkmap *map = new_map(18 * CHUNK);
    (void)state;
    chunkmap_set(map, 0);
    chunkmap_set(map, 1);
    assert_int_equal(chunkmap_merge(map, beyond, 3), -EBADMSG);
    assert_int_equal(chunkmap_merge(map, bits, 2), -EBADMSG);
    assert_int_equal(chunkmap_present(map), 2 * CHUNK);
    assert_int_equal(chunkmap_merge(map, bits, 3), 0);
    assert_int_equal(chunkmap_present(map), 4 * CHUNK);
    assert_int_equal(chunkmap_prefix(map), 3 * CHUNK);
    assert_true(chunkmap_test(map, 17));
    chunkmap_free(map);
}

static void a_copy_is_a_value_of_its_own(void **state)
{
    struct chunkmap *map = new_map(100 * CHUNK + 1), *copy;
    (void)state;
    chunkmap_set(map, 3);
    assert_int_equal(chunkmap_copy(map, &copy), 0);
    chunkmap_set(map, 4);
    assert_true(chunkmap_test(copy, 3));
    assert_false(chunkmap_test(copy, 4));
    chunkmap_free(map);
    assert_int_equal(chunkmap_size(copy), 100 * CHUNK + 1);
    chunkmap_free(copy);
}

/* ---- against a model that has nothing to get wrong */

enum { MODEL_MAX = 400 };

struct model {
    uint64_t size;
    uint64_t chunks;
    bool here[MODEL_MAX];
};

static uint64_t model_bytes(const struct model *m, uint64_t chunk)
{
    return chunk == m->chunks - 1 ? m->size - chunk * CHUNK : CHUNK;
}

static bool model_covers(const struct model *m, uint64_t offset, uint64_t length)
{
    for (uint64_t chunk = 0; chunk < m->chunks; chunk++) {
        uint64_t start = chunk * CHUNK, end = start + model_bytes(m, chunk);
        if (!m->here[chunk] && start < offset + length && offset < end)
            return false;
    }
    return true;
}

static uint64_t model_next(const struct model *m, uint64_t from, bool wanted)
{
    while (from < m->chunks && m->here[from] != wanted)
        from++;
    return from < m->chunks ? from : m->chunks;
}

static void compare(const struct chunkmap *map, const struct model *m)
{
    uint64_t present = 0, prefix = 0;
    bool full = true;
    for (uint64_t chunk = 0; chunk < m->chunks; chunk++) {
        assert_int_equal(chunkmap_test(map, chunk), m->here[chunk]);
        present += m->here[chunk] ? model_bytes(m, chunk) : 0;
        full = full && m->here[chunk];
        prefix += full ? model_bytes(m, chunk) : 0;
    }
    assert_int_equal(chunkmap_present(map), present);
    assert_int_equal(chunkmap_prefix(map), prefix);
    assert_int_equal(chunkmap_full(map), full);
}

static uint64_t below(uint64_t n)
{
    return (uint64_t)random() % n;
}

static void change(struct chunkmap *map, struct model *m, unsigned weight)
{
    uint64_t chunk = below(m->chunks);
    bool here = below(100) < weight;
    m->here[chunk] = here;
    if (here)
        chunkmap_set(map, chunk);
    else
        chunkmap_clear(map, chunk);
}

static void ask(const struct chunkmap *map, const struct model *m)
{
    uint64_t from = below(m->chunks + 3), offset = below(m->size + CHUNK), length = below(4 * CHUNK);
    assert_int_equal(chunkmap_next_missing(map, from), model_next(m, from, false));
    assert_int_equal(chunkmap_next_present(map, from), model_next(m, from, true));
    assert_int_equal(chunkmap_covers(map, offset, length), length == 0 || model_covers(m, offset, length));
}

static void reload(struct chunkmap **map)
{
    struct chunkmap *loaded;
    size_t length;
    const void *bits = chunkmap_bits(*map, &length);
    assert_int_equal(chunkmap_load(chunkmap_size(*map), bits, length, &loaded), 0);
    chunkmap_free(*map);
    *map = loaded;
}

static void one_random_life(unsigned weight)
{
    struct model m = {.size = 1 + below((MODEL_MAX - 1) * CHUNK)};
    struct chunkmap *map = new_map(m.size);
    m.chunks = (m.size + CHUNK - 1) / CHUNK;
    assert_int_equal(chunkmap_chunks(map), m.chunks);
    for (int step = 0; step < 1500; step++) {
        change(map, &m, weight);
        ask(map, &m);
        if (step % 50 == 0)
            compare(map, &m);
        if (step % 200 == 0)
            reload(&map);
    }
    compare(map, &m);
    chunkmap_free(map);
}

static void random_lives_agree_with_a_model(void **state)
{
    static const unsigned weights[] = {100, 98, 90, 50, 10}; /* percent of changes that set a chunk */
    (void)state;
    srandom(20240607);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof weights / sizeof weights[0]; i++)
            one_random_life(weights[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_the_smallest_power_that_fits),
        cmocka_unit_test(the_map_never_exceeds_64_kib),
        cmocka_unit_test(too_large_is_refused),
        cmocka_unit_test(an_empty_image_is_full),
        cmocka_unit_test(a_short_last_chunk_counts_its_bytes),
        cmocka_unit_test(covers_goes_by_bytes),
        cmocka_unit_test(the_disk_form_is_bits_from_the_low_end),
        cmocka_unit_test(a_disk_form_that_does_not_fit_is_refused),
        cmocka_unit_test(merging_adds_what_the_other_has),
        cmocka_unit_test(a_copy_is_a_value_of_its_own),
        cmocka_unit_test(random_lives_agree_with_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
