/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalogue's statements cost when it is large: the plan of each, as it stands in the library, and the work of the calls that reads,
 * look-ups and the fetch thread make. Counts, no times.
 */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sqlite3.h>
#include <stdint.h>

#include <cmocka.h>

#include "catalogue/catalogue.h"
#include "scratch.h"

enum { SMALL = 10, LARGE = 100000 };

/* ---- a catalogue of N rows in each table */

#define COUNT "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < ?1) "
#define NAME "printf('image-%08d', x)"
static const char *const filling[] = {
    COUNT "INSERT INTO images (name, state, size, created, listed0, described) SELECT " NAME ", 0, 10, 1, 2, 1 FROM c",
    COUNT "INSERT INTO images (name, state, size, bytes, last_accessed) SELECT 'cached-' || x, 2, 10, 10, x FROM c",
    COUNT "INSERT INTO images (name, state, size) SELECT 'partial-' || x, 1, 10 FROM c",
    COUNT "INSERT INTO maps (id, bits) SELECT id, x'00' FROM images, (SELECT ?1) WHERE state = 1",
    COUNT "INSERT INTO queue (name, queued, tried, next_try) SELECT " NAME ", 1, 1, 1000000000 FROM c",
    COUNT "INSERT INTO invalid (name, since, bytes, reason) SELECT " NAME ", 1, 0, '' FROM c",
    COUNT "INSERT INTO digests (source, name, algorithm, digest) SELECT 'SHA256SUMS', " NAME ", 3, 'sha256:00' FROM c",
};

static void run(sqlite3 *db, const char *sql, int n)
{
    sqlite3_stmt *s;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &s, NULL), SQLITE_OK);
    if (sqlite3_bind_parameter_count(s) > 0)
        sqlite3_bind_int(s, 1, n);
    int code;
    while ((code = sqlite3_step(s)) == SQLITE_ROW)
        continue;
    assert_int_equal(code, SQLITE_DONE);
    sqlite3_finalize(s);
}

/* The path of a catalogue. */
static const char *make(struct scratch *s, const char *name, int n)
{
    const char *path = scratch_path(s, name);
    struct catalogue *c;
    sqlite3 *db;
    assert_int_equal(catalogue_open(path, &c), 0);
    catalogue_close(c);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run(db, "PRAGMA synchronous = OFF", 0);
    run(db, "BEGIN", 0);
    run(db, "UPDATE listing SET begun = 2, ended = 2, former = 1", 0);
    run(db, "INSERT INTO digest_sources (source, digests) VALUES ('SHA256SUMS', 0)", 0);
    for (size_t i = 0; i < sizeof filling / sizeof filling[0]; i++)
        run(db, filling[i], n);
    run(db, "COMMIT", 0);
    sqlite3_close(db);
    return path;
}

/* ---- every statement of the library: its text is a string there */

static char *read_library(size_t *ret_length)
{
    FILE *f = fopen(LIBGCFS, "rb");
    assert_non_null(f);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    long length = ftell(f);
    assert_true(length > 0);
    rewind(f);
    char *text = malloc((size_t)length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)length, f), length);
    fclose(f);
    text[length] = '\0';
    *ret_length = (size_t)length;
    return text;
}

static bool is_statement(const char *text)
{
    static const char *const words[] = { "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH " };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strncmp(text, words[i], strlen(words[i])) == 0)
            return strlen(text) > 20 && !strchr(text, ';'); /* migrations run once */
    return false;
}

/* Statements that read more than what they find, and why they may. */
static const struct { const char *statement, *reason; } scans[] = {
    { "SELECT count(*) FROM sqlite_schema", "at the start; as many rows as there are tables" },
    { "SELECT count(*) FROM totals", "at the start; six rows" },
    { "SELECT count(*) FROM listing", "at the start; one row" },
    { "SELECT state, images, bytes FROM totals", "six rows" },
    { "SELECT begun", "one row" },
    { "SELECT ended_at FROM listing", "one row" },
    { "SELECT 1 FROM listing", "one row" },
    { "SELECT 1 FROM images, listing", "one row of the listing" },
    { "UPDATE listing", "one row" },
    { "images INDEXED BY images_lru WHERE state = 2 AND pinned = 0 ORDER BY last_accessed DESC LIMIT 1", "the last entry of the index" },
    { "SELECT * FROM (SELECT id, name, state", "sorts the rows of two pages" },
    { "SELECT digest FROM digest_sources", "as many sources as files of digests were ever named" },
    { "FROM images INDEXED BY images_place WHERE place > ?1 AND state < 3", "one row of the listing; of images/, a page" },
    { "SELECT id, name FROM images NOT INDEXED", "after a listing, which wrote as many" },
    { "SELECT id, name FROM images WHERE id > ?1", "each row once, for who finds names by their hash" },
    { "UPDATE images INDEXED BY images_here SET last_accessed", "when the clock was set" },
};

static bool may_scan(const char *sql)
{
    for (size_t i = 0; i < sizeof scans / sizeof scans[0]; i++)
        if (strstr(sql, scans[i].statement))
            return true;
    return false;
}

/* Is this line of a plan more than a search for what is wanted? */
static bool is_scan(const char *detail)
{
    return strncmp(detail, "SCAN ", 5) == 0 ? !strstr(detail, "SUBQUERY") && !strstr(detail, "CONSTANT ROW") && !strstr(detail, "(subquery")
                                            : strstr(detail, "TEMP B-TREE") || strstr(detail, "AUTOMATIC") || strstr(detail, "images USING INTEGER PRIMARY KEY (rowid>?)");
}

/* How many lines of the plan scan. -1: not a statement on these tables. */
static int scans_of(sqlite3 *db, const char *sql)
{
    char *explain = sqlite3_mprintf("EXPLAIN QUERY PLAN %s", sql);
    sqlite3_stmt *s;
    int found = 0;
    if (sqlite3_prepare_v2(db, explain, -1, &s, NULL) != SQLITE_OK) {
        assert_non_null(strstr(sqlite3_errmsg(db), "cached_images")); /* Glance's own index */
        sqlite3_free(explain);
        return -1;
    }
    while (sqlite3_step(s) == SQLITE_ROW) {
        const char *detail = (const char *)sqlite3_column_text(s, 3);
        if (is_scan(detail) && !may_scan(sql)) {
            print_error("%s\n    of: %s\n", detail, sql);
            found++;
        }
    }
    sqlite3_finalize(s);
    sqlite3_free(explain);
    return found;
}

static int check_plans(const char *path, const char *before)
{
    size_t length;
    char *library = read_library(&length);
    sqlite3 *db;
    int statements = 0, found = 0;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    run(db, before, 0);
    for (size_t i = 0; i < length; i += strlen(library + i) + 1) {
        /* Strings of one section lie side by side; what stands before the first may be anything. */
        const char *text = library + i;
        if (!is_statement(text))
            continue;
        int n = scans_of(db, text);
        statements += n >= 0;
        found += n > 0 ? n : 0;
    }
    sqlite3_close(db);
    free(library);
    assert_int_equal(found, 0);
    return statements;
}

static void test_plans(void **state)
{
    static const int sizes[] = { SMALL, LARGE };
    for (size_t i = 0; i < 2; i++) {
        const char *path = make(*state, i == 0 ? "small.db" : "large.db", sizes[i]);
        assert_true(check_plans(path, "SELECT 1") > 50);
        assert_true(check_plans(path, "ANALYZE") > 50);
    }
}

static void test_a_scan_is_found(void **state)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(make(*state, "c.db", SMALL), &db), SQLITE_OK);
    assert_int_equal(scans_of(db, "SELECT name FROM queue WHERE error = ?1"), 1);
    assert_int_equal(scans_of(db, "SELECT name FROM queue NOT INDEXED WHERE id > ?1 AND next_try <= ?3"), 0);
    assert_int_equal(scans_of(db, "SELECT count(*) FROM invalid"), 1);
    assert_int_equal(scans_of(db, "SELECT name FROM images ORDER BY hits LIMIT 1"), 2);
    assert_int_equal(scans_of(db, "SELECT name FROM images WHERE id = ?1"), 0);
    sqlite3_close(db);
}

/* ---- work: steps of SQLite's machine */

static uint64_t steps; /* of all statements since it was set to 0 */

static int on_profile(unsigned what, void *context, void *statement, void *ns)
{
    (void)what;
    (void)context;
    (void)ns;
    steps += (uint64_t)sqlite3_stmt_status(statement, SQLITE_STMTSTATUS_VM_STEP, 1);
    return 0;
}

static int on_open(sqlite3 *db, char **message, const struct sqlite3_api_routines *api)
{
    (void)message;
    (void)api;
    return sqlite3_trace_v2(db, SQLITE_TRACE_PROFILE, on_profile, NULL);
}

enum { ROWS = 4 };
union page {
    struct image_row images[ROWS];
    struct queue_row queue[ROWS];
    struct invalid_row invalid[ROWS];
};

static void get_totals(struct catalogue *c)
{
    struct catalogue_totals t;
    assert_int_equal(catalogue_totals(c, &t), 0);
}

static void find_image(struct catalogue *c)
{
    struct image_row row;
    assert_int_equal(catalogue_find(c, "image-00000007", &row), 0);
    assert_int_equal(catalogue_get(c, row.row, &row), 0);
    assert_true(catalogue_is_listed(c, row.name));
}

static void none_is_due(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_queue_due(c, 2, p.queue, ROWS), 0);
}

static void all_are_due(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_queue_due(c, 2000000000, p.queue, ROWS), ROWS);
}

static void clock_set_back(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_queue_due(c, 0, p.queue, ROWS), ROWS);
}

static void find_queued(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_queue_find(c, "image-00000007", p.queue), 0);
    assert_int_equal(catalogue_queue_add(c, "image-00000007", 1, p.queue), 0);
    assert_int_equal(catalogue_queue_page(c, 3, p.queue, ROWS), ROWS);
}

static void queue_and_remove(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_queue_add(c, "another", 1, p.queue), 0);
    assert_int_equal(catalogue_queue_failed(c, p.queue[0].row, "", 1, 2), 0);
    assert_int_equal(catalogue_queue_remove(c, "another"), 0);
}

static void invalid_files(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_invalid_files(c, 0, p.invalid, ROWS), 0);
    assert_int_equal(catalogue_invalid_put(c, "another", "", 10, 1), 0);
    assert_int_equal(catalogue_invalid_files(c, 0, p.invalid, ROWS), 1);
    assert_int_equal(catalogue_invalid_remove(c, "another"), 0);
}

static void find_digest(struct catalogue *c)
{
    struct digest digest;
    assert_int_equal(catalogue_digest_of(c, "image-00000007", &digest), -ENOENT); /* there is one, of no value */
}

static void oldest(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_least_recent(c, INT64_MIN, 0, p.images, ROWS), ROWS);
    assert_int_equal(catalogue_end_future(c, INT64_MAX, INT64_MAX), 0);
}

static void pages(struct catalogue *c)
{
    union page p;
    assert_int_equal(catalogue_page(c, CATALOGUE_IMAGES, 3, p.images, ROWS), ROWS);
    assert_int_equal(catalogue_page(c, CATALOGUE_CACHED, 0, p.images, ROWS), ROWS);
    assert_int_equal(catalogue_page(c, CATALOGUE_INCOMPLETE, 0, p.images, ROWS), ROWS);
}

static void life_of_an_image(struct catalogue *c)
{
    struct image_meta meta = { .size = 10 };
    struct image_row row;
    int64_t fresh;
    assert_int_equal(catalogue_learn(c, "another", &meta, 1, &row), 0);
    assert_int_equal(catalogue_set_error(c, row.row, "why"), 0);
    assert_int_equal(catalogue_touch(c, &(struct catalogue_touch){ row.row, 1, 5 }, 1), 0);
    assert_int_equal(catalogue_adopt(c, row.row, "", NULL, 1), 0);
    assert_int_equal(catalogue_retire(c, row.row, true, 1, &fresh), 0);
    assert_int_equal(catalogue_forget(c, row.row), 0);
    assert_int_equal(catalogue_forget(c, fresh), 0);
}

static const struct { const char *name; void (*call)(struct catalogue *c); } calls[] = {
    { "totals", get_totals },           { "find an image", find_image },  { "none is due", none_is_due },
    { "all are due", all_are_due },     { "the clock was set back", clock_set_back }, { "find what is queued", find_queued },
    { "queue and remove", queue_and_remove }, { "files in invalid/", invalid_files }, { "a digest", find_digest },
    { "the least recently used", oldest },    { "pages", pages },         { "the life of an image", life_of_an_image },
};
enum { CALLS = sizeof calls / sizeof calls[0] };

static void count_steps(const char *path, uint64_t counted[CALLS])
{
    struct catalogue *c;
    assert_int_equal(sqlite3_auto_extension((void (*)(void))on_open), SQLITE_OK);
    assert_int_equal(catalogue_reopen(path, &c), 0);
    for (size_t i = 0; i < CALLS; i++) {
        steps = 0;
        calls[i].call(c);
        counted[i] = steps;
        assert_true(steps > 0);
    }
    catalogue_close(c);
    sqlite3_cancel_auto_extension((void (*)(void))on_open);
}

static void test_work_does_not_grow(void **state)
{
    uint64_t small[CALLS], large[CALLS];
    count_steps(make(*state, "small.db", SMALL), small);
    count_steps(make(*state, "large.db", LARGE), large);
    for (size_t i = 0; i < CALLS; i++)
        if (large[i] > 2 * small[i])
            fail_msg("%s: %llu steps with %d rows, %llu with %d", calls[i].name, (unsigned long long)small[i], SMALL,
                     (unsigned long long)large[i], LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(test_plans),
        scratch_test(test_a_scan_is_found),
        scratch_test(test_work_does_not_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
