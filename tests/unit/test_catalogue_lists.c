/* SPDX-License-Identifier: Apache-2.0 */
/* What the catalogue keeps beside the rows of images: what a listing told, the queue, what is invalid, published digests. */
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

static void put(struct catalogue *c, int64_t generation, const char *name, uint64_t size)
{
    struct listed_image image = { .name = name, .size = size };
    assert_int_equal(catalogue_listing_put(c, generation, &image, 1, 50), 0);
}

static void test_listing(void **state)
{
    struct catalogue *c = open_in(*state);
    learn(c, "looked-up", 1, 1);
    make_complete(c, "cached", 2, 1);
    int64_t one, two, three;

    /* Under way, nothing but new rows is seen; with no ended listing that is every live row. */
    assert_int_equal(catalogue_listing_begin(c, &one), 0);
    put(c, one, "a", 3);
    put(c, one, "b", IMAGE_SIZE_UNKNOWN);
    put(c, one, "cached", 99);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 4);
    assert_false(catalogue_is_listed(c, "a"));
    assert_int_equal(catalogue_listing_end(c, one, 60), 0);
    assert_int_equal(catalogue_listing_end(c, one, 61), -ESTALE);
    assert_int_equal(catalogue_listing_time(c), 60);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 3);
    assert_true(catalogue_is_listed(c, "a"));
    assert_false(catalogue_is_listed(c, "looked-up"));
    struct image_row row;
    assert_int_equal(catalogue_find(c, "cached", &row), 0);
    assert_int_equal(row.meta.size, 2);
    assert_int_equal(catalogue_find(c, "b", &row), 0);
    assert_true(row.meta.size == IMAGE_SIZE_UNKNOWN);
    assert_int_equal(catalogue_begin(c, row.row, "t", 1), -ESTALE);
    assert_int_equal(row.described, 0);

    /* One given up hides nothing of the ended one, and leaves nothing to the next. */
    assert_int_equal(catalogue_listing_begin(c, &two), 0);
    put(c, two, "a", 3);
    put(c, two, "given-up", 3);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 3);
    assert_int_equal(catalogue_listing_begin(c, &three), 0);
    assert_true(three > two);
    struct listed_image late = { .name = "late", .size = 1 };
    assert_int_equal(catalogue_listing_put(c, two, &late, 1, 1), -ESTALE);
    assert_int_equal(catalogue_listing_end(c, two, 1), -ESTALE);
    put(c, three, "b", 8);
    assert_true(catalogue_is_listed(c, "a"));
    assert_int_equal(catalogue_listing_end(c, three, 70), 0);
    assert_false(catalogue_is_listed(c, "a"));
    assert_false(catalogue_is_listed(c, "given-up"));
    assert_true(catalogue_is_listed(c, "b"));
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 2); /* b; cached, as always */

    struct listed_image bad[] = { { .name = "fine", .size = 1 }, { .name = "../bad", .size = 1 } };
    assert_int_equal(catalogue_listing_begin(c, &one), 0);
    assert_int_equal(catalogue_listing_put(c, one, bad, 2, 1), -EINVAL);
    assert_int_equal(catalogue_find(c, "fine", &row), -ENOENT);
    catalogue_close(c);
}

static void test_listing_sizes(void **state)
{
    struct catalogue *c = open_in(*state);
    struct image_meta m = meta_of(10, "\"e\"");
    m.digest = digest_of(DIGEST_SHA256, SHA256_A);
    struct image_row row, before;
    assert_int_equal(catalogue_learn(c, "x", &m, 5, &before), 0);
    int64_t generation;
    assert_int_equal(catalogue_listing_begin(c, &generation), 0);
    put(c, generation, "x", 10);
    put(c, generation, "x", IMAGE_SIZE_UNKNOWN);
    assert_int_equal(catalogue_find(c, "x", &row), 0);
    assert_string_equal(row.meta.etag, "\"e\"");
    assert_int_equal(row.meta.size, 10);
    assert_int_equal(row.described, 5);
    put(c, generation, "x", 11);
    assert_int_equal(catalogue_find(c, "x", &row), 0);
    assert_true(row.row > before.row);
    assert_int_equal(catalogue_get(c, before.row, &row), -ENOENT);
    assert_int_equal(catalogue_find(c, "x", &row), 0);
    assert_int_equal(row.meta.size, 11);
    assert_string_equal(row.meta.etag, "");
    assert_int_equal(row.meta.digest.algorithm, DIGEST_NONE);
    assert_int_equal(row.described, 0);
    assert_int_equal(catalogue_listing_end(c, generation, 6), 0);
    assert_true(catalogue_is_listed(c, "x"));
    catalogue_close(c);
}

static void test_queue(void **state)
{
    struct catalogue *c = open_in(*state);
    struct queue_row a, b, row, rows[4];
    assert_int_equal(catalogue_queue_add(c, "a", 10, &a), 0);
    assert_int_equal(catalogue_queue_add(c, "b", 11, &b), 0);
    assert_int_equal(catalogue_queue_add(c, "a", 12, &row), 0);
    assert_int_equal(row.row, a.row);
    assert_int_equal(row.queued, 10);
    assert_int_equal(catalogue_queue_add(c, "incomplete", 12, &row), -EINVAL);
    assert_int_equal(catalogue_queue_page(c, 0, rows, 4), 2);
    assert_string_equal(rows[0].name, "a");
    assert_int_equal(catalogue_queue_page(c, a.row, rows, 4), 1);
    assert_string_equal(rows[0].name, "b");

    assert_int_equal(catalogue_queue_failed(c, a.row, "no route to host", 50, 100), 0);
    assert_int_equal(catalogue_queue_failed(c, 999, "", 50, 100), -ENOENT);
    assert_int_equal(catalogue_queue_get(c, a.row, &row), 0);
    assert_int_equal(row.attempts, 1);
    assert_int_equal(row.next_try, 100);
    assert_string_equal(row.error, "no route to host");
    assert_int_equal(catalogue_queue_due(c, 99, rows, 4), 1);
    assert_string_equal(rows[0].name, "b");
    assert_int_equal(catalogue_queue_due(c, 100, rows, 4), 2);
    assert_string_equal(rows[0].name, "a");
    assert_int_equal(catalogue_queue_due(c, 100, rows, 1), 1);
    assert_string_equal(rows[0].name, "a");
    /* The clock was set back: it was tried at a time that is still to come. */
    assert_int_equal(catalogue_queue_due(c, 49, rows, 4), 2);
    assert_string_equal(rows[0].name, "a");

    assert_int_equal(catalogue_queue_remove(c, "a"), 0);
    assert_int_equal(catalogue_queue_remove(c, "a"), -ENOENT);
    assert_int_equal(catalogue_queue_find(c, "a", &row), -ENOENT);
    assert_int_equal(catalogue_queue_get(c, a.row, &row), -ENOENT);
    assert_int_equal(catalogue_queue_add(c, "a", 13, &row), 0);
    assert_true(row.row > b.row);
    catalogue_close(c);
}

static int list_names(struct catalogue *c, const char *const *names, int64_t now)
{
    int64_t generation;
    assert_int_equal(catalogue_listing_begin(c, &generation), 0);
    for (; *names; names++)
        assert_int_equal(catalogue_listing_put(c, generation, &(struct listed_image){ *names, 10, NULL }, 1, now), 0);
    return catalogue_listing_end(c, generation, now);
}

/* How many of the rows that are gone could be forgotten. */
static int forget_gone(struct catalogue *c, bool any, int64_t now)
{
    struct gone_row rows[16];
    int n = catalogue_gone_page(c, any, 0, now, rows, 16);
    assert_true(n >= 0);
    return catalogue_forget_gone(c, rows, (size_t)n);
}

static void test_gone(void **state)
{
    static const char *const all[] = { "a", "cached", "pinned", "queued", "stays", NULL }, *const one[] = { "stays", NULL };
    struct catalogue *c = open_in(*state);
    struct queue_row queued;
    struct image_row row;
    assert_int_equal(list_names(c, all, 10), 0);
    assert_int_equal(catalogue_find(c, "pinned", &row), 0);
    assert_int_equal(catalogue_set_pinned(c, row.row, true), 0);
    assert_int_equal(catalogue_queue_add(c, "queued", 10, &queued), 0);
    make_complete(c, "cached", 10, 10);
    learn(c, "looked up long ago", 10, 5);
    assert_int_equal(forget_gone(c, false, 15), 0);
    assert_int_equal(list_names(c, one, 20), 0);
    assert_int_equal(forget_gone(c, false, 25), 1); /* looked up before the older listing */
    learn(c, "looked up", 10, 25);
    assert_int_equal(list_names(c, one, 30), 0);
    assert_int_equal(forget_gone(c, false, 35), 1);
    assert_int_equal(catalogue_find(c, "a", &row), -ENOENT);
    assert_int_equal(catalogue_find(c, "looked up", &row), 0);
    /* The clock was set back since it was looked up: its time says nothing. */
    assert_int_equal(list_names(c, one, 22), 0);
    assert_int_equal(forget_gone(c, false, 24), 1);
    assert_int_equal(catalogue_find(c, "looked up", &row), -ENOENT);
    learn(c, "too many", 10, 26);
    assert_int_equal(forget_gone(c, true, 27), 1);
    for (size_t i = 1; all[i]; i++)
        assert_int_equal(catalogue_find(c, all[i], &row), 0);
    catalogue_close(c);
}

static void test_gone_without_listings(void **state)
{
    struct catalogue *c = open_in(*state);
    learn(c, "a", 10, 1);
    assert_int_equal(forget_gone(c, false, 1000), 0);
    assert_int_equal(forget_gone(c, true, 1000), 1);
    catalogue_close(c);
}

/* Makes the catalogue believe that a table has so many rows. */
static void pretend_total(struct scratch *s, int table, int rows)
{
    sqlite3 *db;
    char sql[100];
    snprintf(sql, sizeof sql, "UPDATE totals SET images = %d WHERE state = %d", rows, table);
    assert_int_equal(sqlite3_open(scratch_path(s, "c.db"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void test_bounds(void **state)
{
    struct catalogue *c = open_in(*state);
    struct queue_row queued;
    struct invalid_row invalid;
    pretend_total(*state, 4, CATALOGUE_QUEUE_MAX - 1);
    assert_int_equal(catalogue_queue_add(c, "a", 1, &queued), 0);
    assert_int_equal(catalogue_queue_add(c, "b", 1, &queued), -EDQUOT);
    assert_int_equal(catalogue_queue_add(c, "a", 1, &queued), 0);
    assert_int_equal(catalogue_queue_remove(c, "a"), 0);
    assert_int_equal(catalogue_queue_add(c, "b", 1, &queued), 0);

    assert_int_equal(catalogue_invalid_put(c, "with a file", "", 10, 1), 0);
    assert_int_equal(catalogue_invalid_put(c, "x", "", 0, 2), 0);
    assert_int_equal(catalogue_invalid_put(c, "y", "", 0, 3), 0);
    pretend_total(*state, 5, CATALOGUE_INVALID_MAX);
    assert_int_equal(catalogue_invalid_put(c, "z", "", 0, 4), 0);
    assert_int_equal(catalogue_invalid_find(c, "x", &invalid), -ENOENT);
    assert_int_equal(catalogue_invalid_find(c, "with a file", &invalid), 0);
    assert_int_equal(catalogue_invalid_files(c, 0, &invalid, 1), 1);
    assert_string_equal(invalid.name, "with a file");
    assert_int_equal(catalogue_invalid_files(c, invalid.row, &invalid, 1), 0);
    catalogue_close(c);
}

static void test_invalid(void **state)
{
    struct catalogue *c = open_in(*state);
    struct invalid_row row, again;
    assert_int_equal(catalogue_invalid_put(c, "x", "sha256 differs", 77, 5), 0);
    assert_int_equal(catalogue_invalid_find(c, "x", &row), 0);
    assert_int_equal(row.bytes, 77);
    assert_int_equal(row.when, 5);
    assert_string_equal(row.reason, "sha256 differs");
    assert_int_equal(catalogue_invalid_put(c, "x", "again", 0, 6), 0);
    assert_int_equal(catalogue_invalid_get(c, row.row, &again), -ENOENT);
    assert_int_equal(catalogue_invalid_page(c, 0, &again, 1), 1);
    assert_true(again.row > row.row);
    assert_string_equal(again.reason, "again");
    assert_int_equal(catalogue_invalid_get(c, again.row, &row), 0);
    assert_int_equal(catalogue_invalid_remove(c, "x"), 0);
    assert_int_equal(catalogue_invalid_remove(c, "x"), -ENOENT);
    assert_int_equal(catalogue_invalid_find(c, "x", &row), -ENOENT);
    assert_int_equal(catalogue_invalid_put(c, "a/b", "", 0, 6), -EINVAL);
    catalogue_close(c);
}

/* SOURCE says NAMES (NULL-terminated) with DIGEST each, and nothing else. */
static void publish(struct catalogue *c, const char *source, const char *const *names, const struct digest *digest)
{
    struct digests_update *u;
    struct published_digest one = { .digest = *digest };
    assert_int_equal(catalogue_digests_begin(c, source, &u), 0);
    for (; *names; names++) {
        snprintf(one.name, sizeof one.name, "%s", *names);
        assert_int_equal(catalogue_digests_put(u, &one, 1), 0);
    }
    assert_int_equal(catalogue_digests_end(u), 0);
    catalogue_digests_free(u);
}

static void test_digests(void **state)
{
    static const char *const x[] = { "x", NULL }, *const both[] = { "x", "gone", NULL }, *const none[] = { NULL };
    struct catalogue *c = open_in(*state);
    struct digest a = digest_of(DIGEST_SHA256, SHA256_A), b = digest_of(DIGEST_SHA256, SHA256_B);
    struct digest md5 = digest_of(DIGEST_MD5, MD5_A), got;
    assert_int_equal(catalogue_digest_of(c, "x", &got), -ENOENT);
    publish(c, "MD5SUMS", x, &md5);
    publish(c, "SHA256SUMS", both, &a);
    assert_int_equal(catalogue_digest_of(c, "x", &got), 0);
    assert_true(digest_equal(&got, &a));
    assert_int_equal(catalogue_digest_of(c, "gone", &got), 0);

    /* One that breaks off takes nothing away. */
    struct digests_update *u;
    assert_int_equal(catalogue_digests_begin(c, "SHA256SUMS", &u), 0);
    catalogue_digests_free(u);
    assert_int_equal(catalogue_digest_of(c, "gone", &got), 0);

    publish(c, "SHA256SUMS", x, &b);
    assert_int_equal(catalogue_digest_of(c, "gone", &got), -ENOENT);
    assert_int_equal(catalogue_digest_of(c, "x", &got), 0);
    assert_true(digest_equal(&got, &b));
    publish(c, "SHA256SUMS", none, &b);
    assert_int_equal(catalogue_digest_of(c, "x", &got), 0);
    assert_true(digest_equal(&got, &md5));
    catalogue_close(c);
}

/* Bytes of the log: a commit that changes something makes it longer, as nothing has copied it back yet. */
static off_t log_length(struct scratch *s)
{
    struct stat st;
    assert_int_equal(stat(scratch_path(s, "c.db-wal"), &st), 0);
    return st.st_size;
}

static void test_unchanged_digests_are_not_written(void **state)
{
    static const char *const names[] = { "x", "y", "z", NULL };
    struct catalogue *c = open_in(*state);
    struct digest a = digest_of(DIGEST_SHA256, SHA256_A);
    publish(c, "SHA256SUMS", names, &a);
    off_t before = log_length(*state);
    publish(c, "SHA256SUMS", names, &a);
    assert_int_equal(log_length(*state), before);
    publish(c, "SHA256SUMS", names + 1, &a);
    assert_true(log_length(*state) > before);
    catalogue_close(c);
}

/* The last line of a name counts; of a thousand that go, those stay that do. */
static void test_many_digests(void **state)
{
    enum { N = 1000 };
    struct catalogue *c = open_in(*state);
    struct digest a = digest_of(DIGEST_SHA256, SHA256_A), b = digest_of(DIGEST_SHA256, SHA256_B), got;
    struct published_digest *all = calloc(N, sizeof *all);
    struct digests_update *u;
    for (int i = 0; i < N; i++) {
        snprintf(all[i].name, sizeof all[i].name, "image-%d", i / 2);
        all[i].digest = i % 2 == 0 ? a : b;
    }
    for (int kept = N; kept >= 0; kept -= N / 4) {
        assert_int_equal(catalogue_digests_begin(c, "SHA256SUMS", &u), 0);
        assert_int_equal(catalogue_digests_put(u, all, (size_t)kept), 0);
        assert_int_equal(catalogue_digests_end(u), 0);
        catalogue_digests_free(u);
        for (int i = 0; i < N; i += 2) {
            assert_int_equal(catalogue_digest_of(c, all[i].name, &got), i < kept ? 0 : -ENOENT);
            assert_true(i >= kept || digest_equal(&got, &b));
        }
    }
    free(all);
    catalogue_close(c);
}

/* A document with more lines than there may be is not taken, and what was taken before stays. */
static void test_too_many_digests(void **state)
{
    struct catalogue *c = open_in(*state);
    enum { N = 10000 };
    struct published_digest one = { .name = "image", .digest = digest_of(DIGEST_SHA256, SHA256_A) }, *many = calloc(N, sizeof *many);
    for (int i = 0; i < N; i++)
        many[i] = (struct published_digest){ .name = "other", .digest = one.digest };
    struct digests_update *u;
    struct digest got;
    assert_int_equal(catalogue_digests_begin(c, "SHA256SUMS", &u), 0);
    assert_int_equal(catalogue_digests_put(u, &one, 1), 0);
    assert_int_equal(catalogue_digests_end(u), 0);
    catalogue_digests_free(u);
    assert_int_equal(catalogue_digests_begin(c, "SHA256SUMS", &u), 0);
    for (int n = 0; n < CATALOGUE_DIGESTS_MAX; n += N)
        assert_int_equal(catalogue_digests_put(u, many, N), 0);
    assert_int_equal(catalogue_digests_put(u, many, 1), -EFBIG);
    catalogue_digests_free(u);
    assert_int_equal(catalogue_digest_of(c, "image", &got), 0);
    free(many);
    catalogue_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_listing),
        scratch_test(test_listing_sizes),
        scratch_test(test_queue),
        scratch_test(test_invalid),
        scratch_test(test_gone),
        scratch_test(test_gone_without_listings),
        scratch_test(test_bounds),
        scratch_test(test_digests),
        scratch_test(test_many_digests),
        scratch_test(test_too_many_digests),
        scratch_test(test_unchanged_digests_are_not_written),
    };
    return cmocka_run_group_tests_name("catalogue lists", tests, NULL, NULL);
}
