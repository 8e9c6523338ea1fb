/* SPDX-License-Identifier: Apache-2.0 */
/* A catalogue of a test's own, and rows of it. Include after cmocka.h. */
#ifndef GCFS_TEST_CATALOGUE_ROWS_H
#define GCFS_TEST_CATALOGUE_ROWS_H

#include "catalogue/catalogue.h"
#include "scratch.h"

static inline struct catalogue *open_in(struct scratch *s)
{
    struct catalogue *c = NULL;
    assert_int_equal(catalogue_open(scratch_path(s, "c.db"), &c), 0);
    return c;
}

static inline struct digest digest_of(enum digest_algorithm algorithm, const char *hex)
{
    struct digest d;
    assert_int_equal(digest_set(algorithm, hex, strlen(hex), &d), 0);
    return d;
}

static inline struct image_meta meta_of(uint64_t size, const char *etag)
{
    struct image_meta m = { .size = size };
    snprintf(m.etag, sizeof m.etag, "%s", etag);
    return m;
}

static inline int64_t learn(struct catalogue *c, const char *name, uint64_t size, int64_t now)
{
    struct image_meta m = meta_of(size, "");
    struct image_row row;
    assert_int_equal(catalogue_learn(c, name, &m, now, &row), 0);
    return row.row;
}

static inline int64_t make_complete(struct catalogue *c, const char *name, uint64_t size, int64_t now)
{
    int64_t row = learn(c, name, size, now);
    assert_int_equal(catalogue_begin(c, row, "t", now), 0);
    assert_int_equal(catalogue_complete(c, row, NULL, now), 0);
    return row;
}

static inline struct image_row get(struct catalogue *c, int64_t id)
{
    struct image_row row;
    assert_int_equal(catalogue_get(c, id, &row), 0);
    return row;
}

static inline int count_view(struct catalogue *c, enum catalogue_view view)
{
    struct image_row rows[7];
    int64_t after = 0;
    int total = 0, n;
    while ((n = catalogue_page(c, view, after, rows, 7)) > 0) {
        for (int i = 0; i < n; i++, total++) {
            assert_true(rows[i].place > after);
            after = rows[i].place;
        }
    }
    assert_int_equal(n, 0);
    return total;
}

#endif
