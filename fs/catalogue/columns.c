/* SPDX-License-Identifier: Apache-2.0 */
/* The catalogue's image rows, changed by single columns: one statement on one row, in a transaction of its own. See changes.c. */
#include "config-auto.h"

#include <errno.h>

#include "catalogue/images.h"

/* ---- one statement */

static int change(struct catalogue *c, const char *sql, int64_t id, int64_t value, int otherwise)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    return cat_write_end(c, cat_changed_or(cat_run_int2(k, sql, id, value), otherwise));
}

static int change_text(struct catalogue *c, const char *sql, int64_t id, const char *value, int otherwise)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, sql);
    cat_bind_int(&q, id);
    cat_bind_text(&q, value);
    r = cat_changed_or(cat_run(&q), otherwise);
    cat_query_end(&q);
    return cat_write_end(c, r);
}

int catalogue_reset(struct catalogue *c, int64_t row, enum image_state from)
{
    return change(c, "UPDATE images SET state = 0, bytes = 0, last_modified = created, tag = '' WHERE id = ?1 AND state <= ?2",
                  row, from, -ESTALE);
}

int catalogue_reset_file(struct catalogue *c, const struct image_row *row)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE images SET state = 0, bytes = 0, last_modified = created, tag = ''"
                           " WHERE id = ?1 AND state <= ?2 AND (state = 0 OR tag = ?3)");
    cat_bind_int(&q, row->row);
    cat_bind_int(&q, row->state);
    cat_bind_text(&q, row->tag);
    r = cat_changed_or(cat_run(&q), -ESTALE);
    cat_query_end(&q);
    return cat_write_end(c, r);
}

int catalogue_reset_unpinned(struct catalogue *c, int64_t row)
{
    return change(c, "UPDATE images SET state = 0, bytes = 0, last_modified = created, tag = ''"
                     " WHERE id = ?1 AND state = ?2 AND pinned = 0", row, IMAGE_PARTIAL, -ESTALE);
}

int catalogue_set_error(struct catalogue *c, int64_t row, const char *error)
{
    char text[IMAGE_ERROR_MAX + 1];
    cat_copy_text(text, sizeof text, error);
    return change_text(c, "UPDATE images SET error = ?2 WHERE id = ?1", row, text, -ENOENT);
}

int catalogue_set_pinned(struct catalogue *c, int64_t row, bool pinned)
{
    return change(c, "UPDATE images SET pinned = ?2 WHERE id = ?1", row, pinned, -ENOENT);
}

int catalogue_set_digest(struct catalogue *c, int64_t row, const struct digest *digest)
{
    char text[CAT_DIGEST_TEXT];
    cat_digest_text(digest, text);
    return change_text(c, "UPDATE images SET digest = ?2 WHERE id = ?1", row, text, -ENOENT);
}

int catalogue_set_history(struct catalogue *c, int64_t row, uint64_t hits, int64_t last_accessed,
                          int64_t last_modified)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE images SET hits = ?2, last_accessed = ?3, last_modified = ?4 WHERE id = ?1");
    cat_bind_int(&q, row);
    cat_bind_int(&q, (int64_t)hits);
    cat_bind_int(&q, last_accessed);
    cat_bind_int(&q, last_modified);
    r = cat_changed_or(cat_run(&q), -ENOENT);
    cat_query_end(&q);
    return cat_write_end(c, r);
}
