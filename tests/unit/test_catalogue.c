/* SPDX-License-Identifier: Apache-2.0 */
/* What the catalogue keeps and answers. Its faults (kills, damage, a full disk) are in test_catalogue_faults.c, Glance's index in
 * test_catalogue_glance.c. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sqlite3.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "catalogue/catalogue.h"
#include "catalogue_rows.h"
#include "image/chunkmap.h"

#define SHA256_A "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHA256_B "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
#define MD5_A "d41d8cd98f00b204e9800998ecf8427e"

/* What was chosen to make room is looked at again when it goes. */
static void test_chosen_and_pinned_since(void **state)
{
    struct scratch *s = *state;
    struct catalogue *c = open_in(s);
    int64_t fresh = 0, whole = make_complete(c, "whole", 100, 1), part = learn(c, "part", 100, 1), known = learn(c, "known", 100, 1);
    assert_int_equal(catalogue_begin(c, part, "t", 2), 0);
    assert_string_equal(get(c, part).tag, "t");
    assert_int_equal(catalogue_set_pinned(c, whole, true), 0);
    assert_int_equal(catalogue_set_pinned(c, part, true), 0);
    assert_int_equal(catalogue_evict(c, whole, 3, &fresh), -ESTALE);
    assert_int_equal(catalogue_evict(c, known, 3, &fresh), -ESTALE);
    assert_int_equal(catalogue_evict(c, 999, 3, &fresh), -ESTALE);
    assert_int_equal(catalogue_reset_unpinned(c, part), -ESTALE);
    assert_int_equal(get(c, whole).state, IMAGE_COMPLETE);
    assert_int_equal(get(c, part).state, IMAGE_PARTIAL);
    assert_int_equal(fresh, 0);
    assert_int_equal(catalogue_set_pinned(c, whole, false), 0);
    assert_int_equal(catalogue_set_pinned(c, part, false), 0);
    assert_int_equal(catalogue_evict(c, whole, 3, &fresh), 0);
    assert_int_equal(get(c, whole).state, IMAGE_RETIRED);
    assert_string_equal(get(c, whole).tag, "t");
    assert_int_equal(get(c, fresh).state, IMAGE_KNOWN);
    assert_string_equal(get(c, fresh).tag, "");
    assert_int_equal(catalogue_reset_unpinned(c, part), 0);
    assert_int_equal(get(c, part).state, IMAGE_KNOWN);
    assert_string_equal(get(c, part).tag, "");
    catalogue_close(c);
}

static void test_new(void **state)
{
    struct catalogue *c = open_in(*state);
    struct image_row row;
    struct catalogue_totals totals;
    assert_int_equal(catalogue_find(c, "x", &row), -ENOENT);
    assert_int_equal(catalogue_get(c, 1, &row), -ENOENT);
    assert_int_equal(catalogue_page(c, CATALOGUE_IMAGES, 0, &row, 1), 0);
    assert_int_equal(catalogue_totals(c, &totals), 0);
    assert_int_equal(totals.known + totals.partial + totals.complete + totals.retired, 0);
    assert_int_equal(catalogue_listing_time(c), 0);
    assert_false(catalogue_is_listed(c, "x"));
    catalogue_close(c);
    catalogue_close(NULL);

    struct stat st;
    assert_int_equal(stat(scratch_path(*state, "c.db"), &st), 0);
    assert_int_equal(st.st_mode & 0007, 0);
    assert_int_equal(stat(scratch_path(*state, "c.db-wal"), &st), -1);
}

static void test_open_errors(void **state)
{
    struct catalogue *c = NULL;
    assert_int_equal(catalogue_open(scratch_path(*state, "no/c.db"), &c), -ENOENT);
    assert_int_equal(mkdir(scratch_path(*state, "folder"), 0700), 0);
    assert_true(catalogue_open(scratch_path(*state, "folder"), &c) < 0);
    assert_null(c);
}

static void test_learn(void **state)
{
    struct catalogue *c = open_in(*state);
    struct image_meta m = meta_of(1000, "\"a\"");
    snprintf(m.modified, sizeof m.modified, "Mon, 01 Jan 2024 00:00:00 GMT");
    snprintf(m.title, sizeof m.title, "Debian 12 – généric");
    snprintf(m.disk_format, sizeof m.disk_format, "qcow2");
    m.endpoint = 3;
    m.digest = digest_of(DIGEST_SHA256, SHA256_A);
    struct image_row row;
    assert_int_equal(catalogue_learn(c, "i'm; DROP TABLE images--", &m, 17, &row), 0);
    assert_int_equal(row.state, IMAGE_KNOWN);
    struct image_row again = get(c, row.row);
    assert_string_equal(again.name, "i'm; DROP TABLE images--");
    assert_string_equal(again.meta.etag, "\"a\"");
    assert_string_equal(again.meta.modified, m.modified);
    assert_string_equal(again.meta.title, m.title);
    assert_string_equal(again.meta.disk_format, "qcow2");
    assert_int_equal(again.meta.endpoint, 3);
    assert_int_equal(again.meta.size, 1000);
    assert_true(digest_equal(&again.meta.digest, &m.digest));
    assert_int_equal(again.described, 17);
    assert_true(again.created == INT64_C(1704067200000000000)); /* the version's own date */
    assert_int_equal(again.last_accessed, 0);
    assert_false(again.pinned);

    /* The same version told with less keeps what was known; another version is another row, pinned as the first. */
    struct image_meta less = meta_of(1000, "\"a\"");
    less.endpoint = 3;
    struct image_row second;
    assert_int_equal(catalogue_learn(c, row.name, &less, 18, &second), 0);
    assert_int_equal(second.row, row.row);
    assert_true(digest_equal(&second.meta.digest, &m.digest));
    assert_string_equal(second.meta.modified, m.modified);
    assert_int_equal(second.described, 18);
    assert_true(second.created == again.created);
    struct image_meta other = meta_of(2000, "\"b\"");
    struct image_row old;
    assert_int_equal(catalogue_set_pinned(c, row.row, true), 0);
    assert_int_equal(catalogue_learn(c, row.name, &other, 19, &second), 0);
    assert_true(second.row > row.row);
    assert_true(second.pinned);
    assert_int_equal(second.created, 19);
    assert_int_equal(catalogue_get(c, row.row, &old), -ENOENT);
    assert_int_equal(second.meta.size, 2000);
    assert_string_equal(second.meta.etag, "\"b\"");
    assert_string_equal(second.meta.title, "");
    assert_int_equal(second.meta.digest.algorithm, DIGEST_NONE);

    struct image_meta unknown = meta_of(IMAGE_SIZE_UNKNOWN, "");
    assert_int_equal(catalogue_learn(c, "u", &unknown, 1, &second), -EINVAL);
    assert_int_equal(catalogue_learn(c, ".hidden", &other, 1, &second), -EINVAL);
    assert_int_equal(catalogue_find(c, "u", &second), -ENOENT);
    catalogue_close(c);
}

static void test_learn_cached(void **state)
{
    struct catalogue *c = open_in(*state);
    struct image_meta m = meta_of(100, "\"a\"");
    struct image_row row, out;
    assert_int_equal(catalogue_learn(c, "x", &m, 1, &row), 0);
    assert_int_equal(catalogue_begin(c, row.row, "t", 2), 0);

    struct image_meta more = m;
    more.digest = digest_of(DIGEST_SHA256, SHA256_A);
    snprintf(more.title, sizeof more.title, "name");
    assert_int_equal(catalogue_learn(c, "x", &more, 3, &out), 0);
    assert_int_equal(out.row, row.row);
    assert_int_equal(out.state, IMAGE_PARTIAL);
    assert_true(digest_equal(&out.meta.digest, &more.digest));
    assert_string_equal(out.meta.title, "name");
    assert_int_equal(out.described, 3);
    assert_int_equal(out.last_modified, 2);

    struct image_meta other = meta_of(100, "\"b\"");
    memset(&out, 0x5a, sizeof out);
    struct image_row untouched = out;
    assert_int_equal(catalogue_learn(c, "x", &other, 4, &out), -ESTALE);
    assert_memory_equal(&out, &untouched, sizeof out);
    out = get(c, row.row);
    assert_string_equal(out.meta.etag, "\"a\"");
    assert_int_equal(out.described, 3);
    catalogue_close(c);
}

static void test_life(void **state)
{
    struct catalogue *c = open_in(*state);
    uint64_t size = UINT64_C(100) << 20;
    int64_t row = learn(c, "x", size, 1);
    void *bits = NULL;
    size_t length = 0;
    assert_int_equal(catalogue_load_map(c, row, &bits, &length), -ENOENT);
    assert_int_equal(catalogue_checkpoint(c, row, "", 0, 0, 2), -ESTALE);
    assert_int_equal(catalogue_begin(c, row, "t", 2), 0);
    assert_int_equal(catalogue_begin(c, row, "t", 2), -ESTALE);

    /* A begun image has an empty map of the right length at once. */
    struct chunkmap *map;
    assert_int_equal(catalogue_load_map(c, row, &bits, &length), 0);
    assert_int_equal(chunkmap_load(size, bits, length, &map), 0);
    assert_int_equal(chunkmap_present(map), 0);
    free(bits);
    chunkmap_set(map, 3);
    const void *out = chunkmap_bits(map, &length);
    assert_int_equal(catalogue_checkpoint(c, row, out, length, chunkmap_present(map), 5), 0);
    chunkmap_free(map);
    assert_int_equal(catalogue_load_map(c, row, &bits, &length), 0);
    assert_int_equal(length, 200);
    assert_int_equal(((unsigned char *)bits)[0], 8);
    free(bits);
    struct image_row image = get(c, row);
    assert_int_equal(image.state, IMAGE_PARTIAL);
    assert_int_equal(image.bytes, 65536);
    assert_int_equal(image.last_modified, 5);

    struct queue_row queued;
    struct digest digest = digest_of(DIGEST_SHA256, SHA256_A);
    assert_int_equal(catalogue_queue_add(c, "x", 5, &queued), 0);
    assert_int_equal(catalogue_queue_add(c, "y", 5, &queued), 0);
    assert_int_equal(catalogue_invalid_put(c, "x", "why", 0, 5), 0);
    assert_int_equal(catalogue_set_error(c, row, "timed out"), 0);
    assert_int_equal(catalogue_adopt(c, row, "t", &digest, 9), -ESTALE); /* partial: somebody fetches it */
    assert_int_equal(catalogue_complete(c, row, &digest, 9), 0);
    image = get(c, row);
    assert_int_equal(image.state, IMAGE_COMPLETE);
    assert_int_equal(image.bytes, size);
    assert_int_equal(image.last_modified, 9);
    assert_int_equal(image.last_accessed, 9);
    assert_true(digest_equal(&image.meta.digest, &digest));
    assert_string_equal(image.error, "");
    assert_int_equal(catalogue_load_map(c, row, &bits, &length), -ENOENT);
    struct catalogue_totals t;
    assert_int_equal(catalogue_totals(c, &t), 0);
    assert_int_equal(t.queued, 1);
    assert_int_equal(t.invalid, 0);
    assert_int_equal(t.complete, 1);
    assert_int_equal(t.complete_bytes, size);
    assert_int_equal(catalogue_complete(c, row, NULL, 9), -ESTALE);
    assert_int_equal(catalogue_reset(c, row, IMAGE_PARTIAL), -ESTALE);
    assert_int_equal(catalogue_checkpoint(c, row, "", 0, 0, 2), -ESTALE);
    catalogue_close(c);
}

static void test_retire(void **state)
{
    struct catalogue *c = open_in(*state);
    int64_t old = make_complete(c, "x", 10, 1), fresh = -1, generation;
    struct listed_image listed = { .name = "x", .size = 10 };
    assert_int_equal(catalogue_listing_begin(c, &generation), 0);
    assert_int_equal(catalogue_listing_put(c, generation, &listed, 1, 2), 0);
    assert_int_equal(catalogue_listing_end(c, generation, 2), 0);
    assert_int_equal(catalogue_set_pinned(c, old, true), 0);

    assert_int_equal(catalogue_retire(c, old, true, 7, &fresh), 0);
    assert_true(fresh > old);
    struct image_row row;
    assert_int_equal(catalogue_find(c, "x", &row), 0);
    assert_int_equal(row.row, fresh);
    assert_int_equal(row.state, IMAGE_KNOWN);
    assert_int_equal(row.meta.size, 10);
    assert_int_equal(row.bytes, 0);
    assert_int_equal(row.created, 7);
    assert_int_equal(row.last_accessed, 0);
    assert_true(catalogue_is_listed(c, "x"));
    row = get(c, old);
    assert_int_equal(row.state, IMAGE_RETIRED);
    assert_int_equal(row.bytes, 10);
    assert_int_equal(catalogue_retire(c, old, true, 8, NULL), -ESTALE);
    assert_int_equal(catalogue_reset(c, old, IMAGE_COMPLETE), -ESTALE);
    assert_int_equal(catalogue_page(c, CATALOGUE_RETIRED, 0, &row, 1), 1);
    assert_int_equal(row.row, old);

    /* A partial one loses its map; of another version nothing is known but that it is later. */
    assert_int_equal(catalogue_set_pinned(c, fresh, true), 0);
    assert_int_equal(catalogue_begin(c, fresh, "t", 8), 0);
    int64_t other = -1;
    assert_int_equal(catalogue_retire(c, fresh, false, 9, &other), 0);
    assert_int_equal(catalogue_find(c, "x", &row), 0);
    assert_int_equal(row.row, other);
    assert_true(row.meta.size == IMAGE_SIZE_UNKNOWN && row.meta.digest.algorithm == DIGEST_NONE && row.described == 0 && row.pinned);
    assert_true(catalogue_is_listed(c, "x"));
    assert_int_equal(learn(c, "x", 10, 10), other); /* nobody has read of it */
    assert_int_equal(get(c, other).created, 7 + NS_PER_S);
    assert_int_equal(catalogue_forget(c, other), 0);
    void *bits;
    size_t length;
    assert_int_equal(catalogue_load_map(c, fresh, &bits, &length), -ENOENT);
    assert_int_equal(catalogue_find(c, "x", &row), -ENOENT);
    assert_int_equal(catalogue_forget(c, fresh), 0);
    assert_int_equal(catalogue_forget(c, fresh), 0);
    assert_true(learn(c, "x", 1, 10) > fresh);
    catalogue_close(c);
}

static void test_reset_and_columns(void **state)
{
    struct catalogue *c = open_in(*state);
    int64_t row = make_complete(c, "x", 10, 4);
    assert_int_equal(catalogue_set_history(c, row, 12, 100, 50), 0);
    struct catalogue_touch touches[] = { { row, 2, 90 }, { 999, 1, 1 }, { row, 1, 120 } };
    assert_int_equal(catalogue_touch(c, touches, 3), 0);
    assert_int_equal(catalogue_touch(c, NULL, 0), 0);
    struct image_row image = get(c, row);
    assert_int_equal(image.hits, 15);
    assert_int_equal(image.last_accessed, 120);
    assert_int_equal(image.last_modified, 50);

    /* Cut between characters: 255 bytes would end within an "é". */
    char text[400] = "x";
    for (int i = 0; i < 180; i++)
        strcat(text, "é");
    assert_int_equal(catalogue_set_error(c, row, text), 0);
    image = get(c, row);
    assert_int_equal(strlen(image.error), 255);
    assert_int_equal(catalogue_set_error(c, row, text + 1), 0);
    image = get(c, row);
    assert_int_equal(strlen(image.error), 254);

    struct digest digest = digest_of(DIGEST_MD5, MD5_A);
    assert_int_equal(catalogue_set_digest(c, row, &digest), 0);
    image = get(c, row);
    assert_true(digest_equal(&image.meta.digest, &digest));
    assert_int_equal(catalogue_reset(c, row, IMAGE_COMPLETE), 0);
    assert_int_equal(catalogue_reset(c, row, IMAGE_COMPLETE), 0);
    image = get(c, row);
    assert_int_equal(image.state, IMAGE_KNOWN);
    assert_int_equal(image.bytes, 0);
    assert_int_equal(image.last_modified, 4);

    assert_int_equal(catalogue_set_error(c, 999, ""), -ENOENT);
    assert_int_equal(catalogue_set_pinned(c, 999, true), -ENOENT);
    assert_int_equal(catalogue_set_digest(c, 999, &digest), -ENOENT);
    assert_int_equal(catalogue_set_history(c, 999, 1, 1, 1), -ENOENT);
    assert_int_equal(catalogue_reset(c, 999, IMAGE_COMPLETE), -ESTALE);
    assert_int_equal(catalogue_begin(c, 999, "t", 1), -ESTALE);
    assert_int_equal(catalogue_complete(c, 999, NULL, 1), -ESTALE);
    assert_int_equal(catalogue_retire(c, 999, true, 1, NULL), -ESTALE);
    catalogue_close(c);
}

static void test_least_recent(void **state)
{
    struct catalogue *c = open_in(*state);
    char name[16];
    for (int i = 0; i < 60; i++) {
        snprintf(name, sizeof name, "c%d", i);
        int64_t row = make_complete(c, name, 1, 1);
        assert_int_equal(catalogue_set_history(c, row, 0, 1000 - i / 20 * 100, 1), 0);
        if (i % 10 == 0)
            assert_int_equal(catalogue_set_pinned(c, row, true), 0);
        snprintf(name, sizeof name, "k%d", i);
        learn(c, name, 1, 1);
    }
    /* Three times, each shared by 18 rows, in pages of 5. */
    struct image_row rows[5];
    int64_t accessed = -1, row = 0;
    int total = 0, n;
    while ((n = catalogue_least_recent(c, accessed, row, rows, 5)) > 0) {
        for (int i = 0; i < n; i++, total++) {
            assert_true(rows[i].last_accessed > accessed || (rows[i].last_accessed == accessed && rows[i].row > row));
            assert_int_equal(rows[i].state, IMAGE_COMPLETE);
            assert_false(rows[i].pinned);
            accessed = rows[i].last_accessed;
            row = rows[i].row;
        }
    }
    assert_int_equal(n, 0);
    assert_int_equal(total, 54);
    catalogue_close(c);
}

/* Who is read when the future has ended is the newest, also within what was allowed to others before. */
static void test_end_future(void **state)
{
    enum { NOW = 1000, LATEST = 1100 };
    static const int64_t before[] = { 10, NOW + 50, 5000, 5070 }, after[] = { 10, NOW + 50, NOW - 70, NOW };
    struct catalogue *c = open_in(*state);
    int64_t rows[4];
    char name[16];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "f%d", i);
        rows[i] = make_complete(c, name, 1, before[i]);
    }
    assert_int_equal(catalogue_end_future(c, NOW, LATEST), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(get(c, rows[i]).last_accessed, after[i]);
    assert_int_equal(catalogue_end_future(c, NOW, LATEST), 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(get(c, rows[i]).last_accessed, after[i]);
    catalogue_close(c);
}

static void test_pages(void **state)
{
    struct catalogue *c = open_in(*state);
    char name[16];
    int64_t row;
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d", i);
        row = learn(c, name, 5, 1);
        if (i % 4 >= 1)
            assert_int_equal(catalogue_begin(c, row, "t", 1), 0);
        if (i % 4 >= 2)
            assert_int_equal(catalogue_complete(c, row, NULL, 1), 0);
        if (i % 4 == 3)
            assert_int_equal(catalogue_retire(c, row, i % 8 == 3, 1, NULL), 0);
    }
    assert_int_equal(count_view(c, CATALOGUE_INCOMPLETE), 25);
    assert_int_equal(count_view(c, CATALOGUE_CACHED), 25);
    assert_int_equal(count_view(c, CATALOGUE_RETIRED), 25);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 100);
    struct catalogue_totals t;
    assert_int_equal(catalogue_totals(c, &t), 0);
    assert_int_equal(t.known, 50);
    assert_int_equal(t.retired_bytes, 125);
    catalogue_close(c);
}

static void test_notes_and_reopen(void **state)
{
    struct catalogue *c = open_in(*state);
    int64_t value = 5;
    assert_int_equal(catalogue_note_get(c, "k", &value), -ENOENT);
    assert_int_equal(value, 5);
    assert_int_equal(catalogue_note_set(c, "k", -7), 0);
    int64_t row = make_complete(c, "x", 10, 4);
    int64_t highest = learn(c, "y", 10, 4);
    assert_int_equal(catalogue_forget(c, highest), 0);
    catalogue_close(c);

    c = open_in(*state);
    assert_int_equal(catalogue_note_get(c, "k", &value), 0);
    assert_int_equal(value, -7);
    assert_int_equal(catalogue_note_set(c, "k", 8), 0);
    assert_int_equal(catalogue_note_get(c, "k", &value), 0);
    assert_int_equal(value, 8);
    assert_int_equal(get(c, row).state, IMAGE_COMPLETE);
    assert_true(learn(c, "y", 10, 4) > highest);
    catalogue_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_new),
        scratch_test(test_open_errors),
        scratch_test(test_learn),
        scratch_test(test_learn_cached),
        scratch_test(test_life),
        scratch_test(test_retire),
        scratch_test(test_chosen_and_pinned_since),
        scratch_test(test_reset_and_columns),
        scratch_test(test_least_recent),
        scratch_test(test_end_future),
        scratch_test(test_pages),
        scratch_test(test_notes_and_reopen),
    };
    return cmocka_run_group_tests_name("catalogue", tests, NULL, NULL);
}
