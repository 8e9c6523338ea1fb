/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's queue of images to prefetch, and its list of what failed for good. Ids are AUTOINCREMENT in each
 * table: the order of the queue, inode numbers and directory cookies. No lock beyond the writers' turn.
 */
#include "config-auto.h"

#include <errno.h>
#include <string.h>

#include "catalogue/private.h"

/* ---- rows of either table */

/* Where the columns of a table's SELECT go: *RET_NAME is the name's place in ROW. */
struct kind {
    size_t size; /* of a row */
    void (*read)(struct cat_query *q, void *row, const char **ret_name);
};

/* Runs a bound query that gives rows of KIND; ends it. How many. */
static int collect(struct cat_query *q, const struct kind *kind, void *rows, size_t max)
{
    size_t n = 0;
    int r = 0;
    while (n < max && (r = cat_step(q)) > 0) {
        const char *name;
        kind->read(q, (char *)rows + n++ * kind->size, &name);
        if (!image_id_valid(name)) {
            r = -EBADMSG;
            break;
        }
    }
    cat_query_end(q);
    return r < 0 ? r : (int)n;
}

/* The one row a bound query gives; ends it. */
static int one(struct cat_query *q, const struct kind *kind, void *ret)
{
    union {
        struct queue_row queue;
        struct invalid_row invalid;
    } row;
    int r = collect(q, kind, &row, 1);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    memcpy(ret, &row, kind->size);
    return 0;
}

static int find(struct cat_connection *k, const struct kind *kind, const char *sql, const char *name, void *ret)
{
    struct cat_query q;
    cat_query_start(&q, k, sql);
    cat_bind_text(&q, name);
    return one(&q, kind, ret);
}

static int find_by_name(struct catalogue *c, const struct kind *kind, const char *sql, const char *name, void *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = find(k, kind, sql, name, ret);
    cat_read_end(c, k);
    return r;
}

static int find_by_id(struct catalogue *c, const struct kind *kind, const char *sql, int64_t row, void *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, sql);
    cat_bind_int(&q, row);
    r = one(&q, kind, ret);
    cat_read_end(c, k);
    return r;
}

/* Up to MAX rows; AFTER is the first parameter of SQL, MAX the second. */
static int page(struct catalogue *c, const struct kind *kind, const char *sql, int64_t after, void *rows, size_t max)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, sql);
    cat_bind_int(&q, after);
    cat_bind_limit(&q, max);
    r = collect(&q, kind, rows, max);
    cat_read_end(c, k);
    return r;
}

/* How many rows the table has whose total STATE is. */
static int count_of(struct cat_connection *k, int state, int64_t *ret)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "SELECT images FROM totals WHERE state = ?1");
    cat_bind_int(&q, state);
    int r = cat_step(&q);
    if (r > 0)
        *ret = cat_int(&q, 0);
    return r > 0 ? 0 : r < 0 ? r : -EBADMSG;
}

static int remove_name(struct catalogue *c, const char *sql, const char *name)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_run_name(k, sql, name);
    r = cat_write_end(c, r == 0 ? -ENOENT : r);
    return r < 0 ? r : 0;
}

/* ---- the queue */

#define QUEUE_SELECT "SELECT id, name, queued, next_try, attempts, error FROM queue"

static void read_queue_row(struct cat_query *q, void *to, const char **ret_name)
{
    struct queue_row *row = to;
    row->row = cat_int(q, 0);
    cat_text(q, 1, row->name, sizeof row->name);
    row->queued = cat_int(q, 2);
    row->next_try = cat_int(q, 3);
    row->attempts = cat_unsigned(q, 4);
    cat_text(q, 5, row->error, sizeof row->error);
    *ret_name = row->name;
}

static const struct kind QUEUE = {sizeof(struct queue_row), read_queue_row};

static int queue_find(struct cat_connection *k, const char *name, struct queue_row *ret)
{
    return find(k, &QUEUE, QUEUE_SELECT " WHERE name = ?1", name, ret);
}

static int queue_add(struct cat_connection *k, const char *name, int64_t now, struct queue_row *ret)
{
    int64_t queued;
    int r = queue_find(k, name, ret);
    if (r != -ENOENT)
        return r;
    r = count_of(k, CAT_TOTAL_QUEUE, &queued);
    if (r < 0 || queued >= CATALOGUE_QUEUE_MAX)
        return r < 0 ? r : -EDQUOT;
    CAT_QUERY q;
    cat_query_start(&q, k, "INSERT INTO queue (name, queued) VALUES (?1, ?2)");
    cat_bind_text(&q, name);
    cat_bind_int(&q, now);
    r = cat_run(&q);
    return r < 0 ? r : queue_find(k, name, ret);
}

int catalogue_queue_add(struct catalogue *c, const char *name, int64_t now, struct queue_row *ret)
{
    if (!image_id_valid(name))
        return -EINVAL;
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct queue_row row;
    r = cat_write_end(c, queue_add(k, name, now, &row));
    if (r < 0)
        return r;
    *ret = row;
    return 0;
}

int catalogue_queue_find(struct catalogue *c, const char *name, struct queue_row *ret)
{
    return find_by_name(c, &QUEUE, QUEUE_SELECT " WHERE name = ?1", name, ret);
}

int catalogue_queue_get(struct catalogue *c, int64_t row, struct queue_row *ret)
{
    return find_by_id(c, &QUEUE, QUEUE_SELECT " WHERE id = ?1", row, ret);
}

int catalogue_queue_page(struct catalogue *c, int64_t after, struct queue_row *rows, size_t max)
{
    return page(c, &QUEUE, QUEUE_SELECT " WHERE id > ?1 ORDER BY id LIMIT ?2", after, rows, max);
}

/* One search of an index each, however many wait or are due. What was never tried has 0 there. */
#define DUE(index, condition, order)                                                                              \
    "SELECT * FROM (" QUEUE_SELECT " INDEXED BY " index " WHERE " condition " ORDER BY " order ", id LIMIT ?2)"

int catalogue_queue_due(struct catalogue *c, int64_t now, struct queue_row *rows, size_t max)
{
    static const char sql[] = DUE("queue_tried", "tried > ?1", "tried") " UNION ALL "
                              DUE("queue_next_try", "next_try > 0 AND next_try <= ?1 AND tried <= ?1", "next_try") " UNION ALL "
                              DUE("queue_next_try", "next_try = 0", "next_try") " LIMIT ?2";
    return page(c, &QUEUE, sql, now, rows, max);
}

int catalogue_queue_failed(struct catalogue *c, int64_t row, const char *error, int64_t now, int64_t next_try)
{
    char text[IMAGE_ERROR_MAX + 1];
    cat_copy_text(text, sizeof text, error);
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE queue SET attempts = attempts + 1, error = ?2, next_try = ?3, tried = ?4 WHERE id = ?1");
    cat_bind_int(&q, row);
    cat_bind_text(&q, text);
    cat_bind_int(&q, next_try);
    cat_bind_int(&q, now);
    r = cat_run(&q);
    cat_query_end(&q);
    r = cat_write_end(c, r == 0 ? -ENOENT : r);
    return r < 0 ? r : 0;
}

int catalogue_queue_remove(struct catalogue *c, const char *name)
{
    return remove_name(c, "DELETE FROM queue WHERE name = ?1", name);
}

/* ---- what failed */

#define INVALID_SELECT "SELECT id, name, since, bytes, reason, place FROM invalid"
#define INVALID_BY_NAME INVALID_SELECT " WHERE name = ?1"

static void read_invalid_row(struct cat_query *q, void *to, const char **ret_name)
{
    struct invalid_row *row = to;
    row->row = cat_int(q, 0);
    cat_text(q, 1, row->name, sizeof row->name);
    row->when = cat_int(q, 2);
    row->bytes = cat_unsigned(q, 3);
    cat_text(q, 4, row->reason, sizeof row->reason);
    row->place = cat_int(q, 5);
    *ret_name = row->name;
}

static const struct kind INVALID = {sizeof(struct invalid_row), read_invalid_row};

/* With as many as may be, the oldest that has no file makes place. */
static int invalid_make_place(struct cat_connection *k)
{
    int64_t rows;
    int r = count_of(k, CAT_TOTAL_INVALID, &rows);
    if (r < 0 || rows < CATALOGUE_INVALID_MAX)
        return r;
    return cat_run_int(k, "DELETE FROM invalid WHERE id = (SELECT id FROM invalid INDEXED BY invalid_kept"
                          " WHERE (bytes > 0) = ?1 ORDER BY id LIMIT 1)", 0);
}

static int invalid_put(struct cat_connection *k, const char *name, const char *reason, uint64_t bytes, int64_t now)
{
    char text[IMAGE_ERROR_MAX + 1];
    cat_copy_text(text, sizeof text, reason);
    struct invalid_row old = { .place = 0 };
    int r = find(k, &INVALID, INVALID_BY_NAME, name, &old);
    if (r >= 0)
        r = cat_run_name(k, "DELETE FROM invalid WHERE name = ?1", name);
    else if (r == -ENOENT)
        r = 0;
    if (r >= 0)
        r = invalid_make_place(k);
    if (r < 0)
        return r;
    CAT_QUERY q;
    cat_query_start(&q, k, "INSERT INTO invalid (name, since, bytes, reason, heir_of) VALUES (?1, ?2, ?3, ?4, ?5)");
    cat_bind_text(&q, name);
    cat_bind_int(&q, now);
    cat_bind_int(&q, (int64_t)bytes);
    cat_bind_text(&q, text);
    cat_bind_int(&q, old.place);
    return cat_run(&q);
}

int catalogue_invalid_put(struct catalogue *c, const char *name, const char *reason, uint64_t bytes, int64_t now)
{
    if (!image_id_valid(name))
        return -EINVAL;
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_write_end(c, invalid_put(k, name, reason, bytes, now));
    return r < 0 ? r : 0;
}

int catalogue_invalid_set_bytes(struct catalogue *c, const char *name, uint64_t bytes)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE invalid SET bytes = ?2 WHERE name = ?1");
    cat_bind_text(&q, name);
    cat_bind_int(&q, (int64_t)bytes);
    r = cat_run(&q);
    cat_query_end(&q);
    r = cat_write_end(c, r);
    return r < 0 ? r : r > 0 ? 0 : -ENOENT;
}

int catalogue_invalid_find(struct catalogue *c, const char *name, struct invalid_row *ret)
{
    return find_by_name(c, &INVALID, INVALID_BY_NAME, name, ret);
}

int catalogue_invalid_get(struct catalogue *c, int64_t row, struct invalid_row *ret)
{
    return find_by_id(c, &INVALID, INVALID_SELECT " WHERE id = ?1", row, ret);
}

int catalogue_invalid_page(struct catalogue *c, int64_t after, struct invalid_row *rows, size_t max)
{
    return page(c, &INVALID, INVALID_SELECT " INDEXED BY invalid_place WHERE place > ?1 ORDER BY place LIMIT ?2", after, rows, max);
}

int catalogue_invalid_files(struct catalogue *c, int64_t after, struct invalid_row *rows, size_t max)
{
    return page(c, &INVALID, INVALID_SELECT " INDEXED BY invalid_kept WHERE (bytes > 0) = 1 AND id > ?1 ORDER BY id LIMIT ?2",
                after, rows, max);
}

int catalogue_invalid_remove(struct catalogue *c, const char *name)
{
    return remove_name(c, "DELETE FROM invalid WHERE name = ?1", name);
}
