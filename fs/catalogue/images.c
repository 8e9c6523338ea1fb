/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's image rows, read: by name, by id, in pages, by last use, in sum; and the chunk maps.
 *
 * Each function is one statement on a reader's connection; the page it returns is of one commit. No lock.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/images.h"

int cat_image_row(struct cat_query *q, struct image_row *ret)
{
    int64_t state = cat_int(q, 2);
    cat_text(q, 1, ret->name, sizeof ret->name);
    /* Names become file names: one that we would not have written is damage, not an image. */
    if (state < IMAGE_KNOWN || state > IMAGE_RETIRED || !image_id_valid(ret->name))
        return -EBADMSG;
    int64_t size = cat_int(q, 3);
    ret->row = cat_int(q, 0);
    ret->state = (enum image_state)state;
    ret->meta.size = size < 0 ? IMAGE_SIZE_UNKNOWN : (uint64_t)size;
    ret->bytes = cat_unsigned(q, 4);
    ret->hits = cat_unsigned(q, 5);
    ret->created = cat_int(q, 6);
    ret->last_accessed = cat_int(q, 7);
    ret->last_modified = cat_int(q, 8);
    ret->described = cat_int(q, 9);
    ret->pinned = cat_int(q, 10) != 0;
    ret->meta.endpoint = (unsigned)cat_unsigned(q, 11);
    cat_text(q, 12, ret->meta.etag, sizeof ret->meta.etag);
    cat_text(q, 13, ret->meta.modified, sizeof ret->meta.modified);
    cat_digest(q, 14, &ret->meta.digest);
    cat_text(q, 15, ret->meta.title, sizeof ret->meta.title);
    cat_text(q, 16, ret->meta.disk_format, sizeof ret->meta.disk_format);
    cat_text(q, 17, ret->error, sizeof ret->error);
    cat_text(q, 18, ret->tag, sizeof ret->tag);
    ret->place = cat_int(q, 19);
    ret->meta.virtual_size = cat_unsigned(q, 20);
    return 0;
}

/* Runs a bound query that gives image rows; ends it. How many. */
static int collect(struct cat_query *q, struct image_row *rows, size_t max)
{
    size_t n = 0;
    int r = 0;
    while (n < max && (r = cat_step(q)) > 0) {
        r = cat_image_row(q, &rows[n]);
        if (r < 0) {
            cat_note_error(q->catalogue, r);
            break;
        }
        n++;
    }
    cat_query_end(q);
    return r < 0 ? r : (int)n;
}

int cat_image_find(struct cat_connection *k, const char *name, struct image_row *ret)
{
    struct image_row row;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT " CAT_IMAGE_COLUMNS " FROM images WHERE name = ?1 AND state < 3");
    cat_bind_text(&q, name);
    int r = collect(&q, &row, 1);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = row;
    return 0;
}

int cat_image_get(struct cat_connection *k, int64_t id, struct image_row *ret)
{
    struct image_row row;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT " CAT_IMAGE_COLUMNS " FROM images WHERE id = ?1");
    cat_bind_int(&q, id);
    int r = collect(&q, &row, 1);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = row;
    return 0;
}

int catalogue_find(struct catalogue *c, const char *name, struct image_row *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_image_find(k, name, ret);
    cat_read_end(c, k);
    return r;
}

int catalogue_get(struct catalogue *c, int64_t row, struct image_row *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_image_get(k, row, ret);
    cat_read_end(c, k);
    return r;
}

/* "state > 0" stands beside "state = …" because it is what the index says of its rows. */
#define PAGE_OF(state)                                                                                             \
    "SELECT " CAT_IMAGE_COLUMNS " FROM images INDEXED BY images_here"                                              \
    " WHERE state = " #state " AND state > 0 AND place > ?1 ORDER BY place LIMIT ?2"

static const char *page_sql(enum catalogue_view view)
{
    switch (view) {
    case CATALOGUE_CACHED:
        return PAGE_OF(2);
    case CATALOGUE_INCOMPLETE:
        return PAGE_OF(1);
    case CATALOGUE_RETIRED:
        return PAGE_OF(3);
    case CATALOGUE_IMAGES:
        break;
    }
    /* With no listing ever ended, 0 IN (0, …) holds for every row. */
    return "SELECT " CAT_IMAGE_COLUMNS " FROM images INDEXED BY images_place WHERE place > ?1 AND state < 3"
           " AND (state > 0 OR (SELECT ended FROM listing) IN (0, listed0, listed1)) ORDER BY place LIMIT ?2";
}

int catalogue_page(struct catalogue *c, enum catalogue_view view, int64_t after, struct image_row *rows, size_t max)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;

    struct cat_query q;
    cat_query_start(&q, k, page_sql(view));
    cat_bind_int(&q, after);
    cat_bind_limit(&q, max);
    r = collect(&q, rows, max);
    cat_read_end(c, k);
    return r;
}

/* Two searches of the index rather than one row value: SQLite would search that by last_accessed alone, and go through
 * all rows of the same time again for each page. */
#define LEAST_RECENT(condition)                                                                                     \
    "SELECT * FROM (SELECT " CAT_IMAGE_COLUMNS " FROM images INDEXED BY images_lru"                                 \
    " WHERE state = 2 AND pinned = 0 AND " condition " ORDER BY last_accessed, id LIMIT ?3)"

int catalogue_least_recent(struct catalogue *c, int64_t accessed, int64_t row, struct image_row *rows, size_t max)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;

    struct cat_query q;
    cat_query_start(&q, k, LEAST_RECENT("last_accessed = ?1 AND id > ?2") " UNION ALL "
                           LEAST_RECENT("last_accessed > ?1") " ORDER BY last_accessed, id LIMIT ?3");
    cat_bind_int(&q, accessed);
    cat_bind_int(&q, row);
    cat_bind_limit(&q, max);
    r = collect(&q, rows, max);
    cat_read_end(c, k);
    return r;
}

int catalogue_totals(struct catalogue *c, struct catalogue_totals *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;

    uint64_t rows[CAT_TOTALS] = { 0 }, bytes[CAT_TOTALS] = { 0 };
    struct cat_query q;
    cat_query_start(&q, k, "SELECT state, images, bytes FROM totals");
    while ((r = cat_step(&q)) > 0) {
        int64_t state = cat_int(&q, 0);
        if (state < 0 || state >= CAT_TOTALS)
            continue;
        rows[state] = cat_unsigned(&q, 1);
        bytes[state] = cat_unsigned(&q, 2);
    }
    cat_query_end(&q);
    cat_read_end(c, k);
    if (r < 0)
        return r;
    *ret = (struct catalogue_totals){
        .known = rows[IMAGE_KNOWN],
        .partial = rows[IMAGE_PARTIAL],
        .complete = rows[IMAGE_COMPLETE],
        .retired = rows[IMAGE_RETIRED],
        .queued = rows[CAT_TOTAL_QUEUE],
        .invalid = rows[CAT_TOTAL_INVALID],
        .pinned = rows[CAT_TOTAL_PINNED],
        .pinned_bytes = bytes[CAT_TOTAL_PINNED],
        .partial_bytes = bytes[IMAGE_PARTIAL],
        .complete_bytes = bytes[IMAGE_COMPLETE],
        .retired_bytes = bytes[IMAGE_RETIRED],
        .invalid_bytes = bytes[CAT_TOTAL_INVALID],
    };
    return 0;
}

int catalogue_load_map(struct catalogue *c, int64_t row, void **ret_bits, size_t *ret_length)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;

    void *bits = NULL;
    size_t length = 0;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT bits FROM maps WHERE id = ?1");
    cat_bind_int(&q, row);
    r = cat_step(&q);
    if (r > 0) {
        const void *from = sqlite3_column_blob(q.statement, 0);
        length = (size_t)sqlite3_column_bytes(q.statement, 0);
        bits = malloc(length ? length : 1);
        if (!bits || (length && !from))
            r = -ENOMEM;
        else if (length)
            memcpy(bits, from, length);
    }
    cat_query_end(&q);
    cat_read_end(c, k);
    if (r <= 0) {
        free(bits);
        return r < 0 ? r : -ENOENT;
    }
    *ret_bits = bits;
    *ret_length = length;
    return 0;
}
