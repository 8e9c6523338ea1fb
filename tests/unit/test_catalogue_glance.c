/* SPDX-License-Identifier: Apache-2.0 */
/* Glance's own index: what is read of it, that nothing is written, and what is refused. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "catalogue/catalogue.h"
#include "scratch.h"

#define MD5_A "d41d8cd98f00b204e9800998ecf8427e"

static sqlite3 *make_glance(const char *path, const char *more)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    static const char tables[] =
        "CREATE TABLE cached_images (image_id TEXT PRIMARY KEY, last_accessed REAL DEFAULT 0.0,"
        " last_modified REAL DEFAULT 0.0, size INTEGER DEFAULT 0, hits INTEGER DEFAULT 0, checksum TEXT);"
        "INSERT INTO cached_images VALUES ('a', 1700000000.25, 1600000000, 4096, 3, NULL),"
        " ('b', 0.0, -5, -1, 0, '" MD5_A "'), ('c', 1e300, 1, 1, 1, 'nonsense')";
    assert_int_equal(sqlite3_exec(db, tables, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, more, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

static void check_glance(const char *path)
{
    struct glance_index *g = NULL;
    struct glance_row row;
    assert_int_equal(glance_index_open(path, &g), 0);
    assert_int_equal(glance_index_find(g, "a", &row), 0);
    assert_int_equal(row.size, 4096);
    assert_int_equal(row.hits, 3);
    assert_int_equal(row.last_accessed, INT64_C(1700000000250000000));
    assert_int_equal(row.last_modified, INT64_C(1600000000000000000));
    assert_int_equal(row.checksum.algorithm, DIGEST_NONE);
    assert_int_equal(glance_index_find(g, "b", &row), 0);
    assert_int_equal(row.size, 0);
    assert_int_equal(row.last_modified, 0);
    assert_int_equal(row.checksum.algorithm, DIGEST_MD5);
    assert_int_equal(glance_index_find(g, "c", &row), 0);
    assert_int_equal(row.last_accessed, 0);
    assert_int_equal(row.checksum.algorithm, DIGEST_NONE);
    assert_int_equal(glance_index_find(g, "d", &row), -ENOENT);
    glance_index_close(g);
}

static void test_read(void **state)
{
    struct glance_index *g = NULL;
    assert_int_equal(glance_index_open(scratch_path(*state, "cache.db"), &g), -ENOENT);
    const char *path = scratch_path(*state, "odd %20?#name.db");
    sqlite3_close(make_glance(path, ""));
    struct stat before, after;
    assert_int_equal(stat(path, &before), 0);
    check_glance(path);
    assert_int_equal(stat(path, &after), 0);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof before.st_mtim);
    glance_index_close(NULL);
}

/* Glance itself has it open, in WAL mode or in a transaction. */
static void test_in_use(void **state)
{
    const char *path = scratch_path(*state, "cache.db");
    sqlite3 *db = make_glance(path, "BEGIN IMMEDIATE; INSERT INTO cached_images (image_id) VALUES ('d')");
    check_glance(path);
    sqlite3_close(db);

    path = scratch_path(*state, "wal.db");
    sqlite3_close(make_glance(path, "PRAGMA journal_mode = WAL"));
    check_glance(path);
    struct stat st;
    char shm[PATH_MAX + 300];
    snprintf(shm, sizeof shm, "%s-shm", path);
    assert_int_equal(stat(shm, &st), -1);
}

static void write_file(const char *path, const void *data, size_t length)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, length, f), length);
    assert_int_equal(fclose(f), 0);
}

static void test_damaged(void **state)
{
    struct glance_index *g = NULL;
    const char *path = scratch_path(*state, "cache.db");
    write_file(path, "", 0);
    assert_int_equal(glance_index_open(path, &g), -EBADMSG);
    char garbage[4096];
    memset(garbage, 'x', sizeof garbage);
    write_file(path, garbage, sizeof garbage);
    assert_int_equal(glance_index_open(path, &g), -EBADMSG);
    assert_int_equal(unlink(path), 0);
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE TABLE other (x)", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(glance_index_open(path, &g), -EBADMSG);
    assert_null(g);
}

/* A view of the table's name would run for ever, and a value may claim any length. */
static void test_hostile(void **state)
{
    struct glance_index *g = NULL;
    struct glance_row row;
    sqlite3 *db;
    const char *path = scratch_path(*state, "view.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "CREATE VIEW cached_images AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"
                                  " SELECT 'x' AS image_id, i AS size, 0 AS hits, 0 AS last_accessed, 0 AS last_modified,"
                                  " NULL AS checksum FROM n", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_true(glance_index_open(path, &g) < 0);
    assert_null(g);

    path = scratch_path(*state, "long.db");
    sqlite3_close(make_glance(path, "INSERT INTO cached_images (image_id, checksum) VALUES ('long', zeroblob(16 << 20))"));
    assert_int_equal(glance_index_open(path, &g), 0);
    assert_true(glance_index_find(g, "long", &row) < 0);
    assert_int_equal(glance_index_find(g, "a", &row), 0);
    glance_index_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_read),
        scratch_test(test_in_use),
        scratch_test(test_damaged),
        scratch_test(test_hostile),
    };
    return cmocka_run_group_tests_name("catalogue: Glance's index", tests, NULL, NULL);
}
