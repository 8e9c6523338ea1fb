/* SPDX-License-Identifier: Apache-2.0 */
/* Where the catalogue's rows stand in a folder that is listed while they are replaced. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sqlite3.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalogue_rows.h"
#include "recorded.h"

/* Who takes a name over stands where the other stood: whoever lists meanwhile meets each name once, also when it is renewed often. */
static void test_places(void **state)
{
    struct catalogue *c = NULL;
    assert_int_equal(catalogue_open(scratch_path(*state, "c.db"), &c), 0);
    int64_t first = make_complete(c, "a", 5, 1), b = learn(c, "b", 5, 1), fresh = 0;
    struct image_row row;
    assert_int_equal(get(c, first).place, first);
    assert_int_equal(catalogue_page(c, CATALOGUE_IMAGES, 0, &row, 1), 1);
    assert_string_equal(row.name, "a");
    assert_int_equal(catalogue_evict(c, first, 2, &fresh), 0);
    assert_true(fresh > b);
    assert_int_equal(catalogue_page(c, CATALOGUE_IMAGES, row.place, &row, 1), 1);
    assert_string_equal(row.name, "b");
    assert_int_equal(catalogue_page(c, CATALOGUE_IMAGES, row.place, &row, 1), 0);
    assert_int_equal(get(c, fresh).place, first);
    assert_int_equal(get(c, first).place, first); /* retired: its own */

    assert_int_equal(catalogue_begin(c, fresh, "t", 3), 0);
    assert_int_equal(catalogue_complete(c, fresh, NULL, 3), 0);
    assert_int_equal(catalogue_page(c, CATALOGUE_CACHED, 0, &row, 1), 1);
    assert_int_equal(row.place, first);
    int64_t last = 0, known;
    assert_int_equal(catalogue_retire(c, fresh, false, 4, &last), 0);
    assert_int_equal(get(c, fresh).place, fresh);
    assert_int_equal(count_view(c, CATALOGUE_RETIRED), 2);
    known = learn(c, "a", 6, 5);
    known = learn(c, "a", 7, 6); /* another version of what is known: another row */
    assert_true(known > last);
    assert_int_equal(get(c, known).place, first);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 2);
    assert_int_equal(catalogue_forget(c, known), 0);
    assert_int_equal(get(c, learn(c, "a", 8, 7)).place > known, true); /* gone meanwhile: a newcomer */

    struct invalid_row invalid;
    assert_int_equal(catalogue_invalid_put(c, "x", "one", 0, 1), 0);
    assert_int_equal(catalogue_invalid_put(c, "y", "two", 0, 1), 0);
    assert_int_equal(catalogue_invalid_page(c, 0, &invalid, 1), 1);
    assert_string_equal(invalid.name, "x");
    assert_int_equal(catalogue_invalid_put(c, "x", "three", 0, 2), 0);
    assert_int_equal(catalogue_invalid_page(c, invalid.place, &invalid, 1), 1);
    assert_string_equal(invalid.name, "y");
    assert_int_equal(catalogue_invalid_page(c, invalid.place, &invalid, 1), 0);
    catalogue_close(c);
}

/* The format before rows had places: what is there stays as it is. */
static void test_from_before_places(void **state)
{
    const char *path = scratch_path(*state, "c.db");
    char *sql = recorded("catalogue-3.sql");
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(sql);

    struct catalogue *c = NULL;
    struct image_row row;
    int64_t fresh = 0;
    assert_int_equal(catalogue_open(path, &c), 0);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 3);
    assert_int_equal(catalogue_find(c, "whole", &row), 0);
    assert_int_equal(row.state, IMAGE_COMPLETE);
    assert_int_equal(row.place, row.row);
    assert_int_equal(catalogue_retire(c, row.row, true, 9, &fresh), 0);
    assert_int_equal(get(c, fresh).place, row.row);
    assert_int_equal(count_view(c, CATALOGUE_IMAGES), 3);
    assert_int_equal(count_view(c, CATALOGUE_INCOMPLETE), 1);
    assert_int_equal(count_view(c, CATALOGUE_RETIRED), 2);
    struct invalid_row invalid;
    assert_int_equal(catalogue_invalid_page(c, 0, &invalid, 1), 1);
    assert_string_equal(invalid.name, "bad");
    catalogue_close(c);
    assert_int_equal(catalogue_open(path, &c), 0); /* migrated once */
    assert_int_equal(get(c, fresh).place, row.row);
    catalogue_close(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_places),
        scratch_test(test_from_before_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
