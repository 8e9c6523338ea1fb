/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend's listing of images.
 *
 * It comes in generations: begun, put, ended. A generation is even or odd and marks one of two columns in
 * turn (see schema.c), so that the newest ended listing stays whole while the next one is put. Only the
 * newest begun generation may be put and ended; an older one gets -ESTALE. No lock beyond the writers' turn.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/private.h"

static int listing_begin(struct cat_connection *k, int64_t *ret)
{
    /* The smallest generation above every former one whose parity differs from the ended one's. */
    CAT_QUERY update;
    cat_query_start(&update, k, "UPDATE listing SET begun = max(begun, ended) + 1"
                                " + (((max(begun, ended) + 1) & 1) = (ended & 1))");
    int r = cat_run(&update);
    if (r < 0)
        return r;
    CAT_QUERY select;
    cat_query_start(&select, k, "SELECT begun FROM listing");
    r = cat_step(&select);
    if (r > 0)
        *ret = cat_int(&select, 0);
    return r == 0 ? -EBADMSG : r;
}

int catalogue_listing_begin(struct catalogue *c, int64_t *ret_generation)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    int64_t generation = 0;
    r = cat_write_end(c, listing_begin(k, &generation));
    if (r < 0)
        return r;
    *ret_generation = generation;
    return 0;
}

static int check_generation(struct cat_connection *k, int64_t generation)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "SELECT 1 FROM listing WHERE begun = ?1 AND ended <> ?1");
    cat_bind_int(&q, generation);
    int r = cat_step(&q);
    return r == 0 ? -ESTALE : r;
}

/* The common case first, so that it writes nothing but the mark. */
#define MARK(column)                                                                                                 \
    "UPDATE images SET " column " = ?2 WHERE name = ?1 AND state < 3 AND (state > 0 OR ?3 < 0 OR size = ?3)"
/* Nothing was marked: a new image, or a known row with another size: a new row by now, and what we know of its old bytes no longer holds. */
#define PUT(column)                                                                                                  \
    "INSERT INTO images (name, " column ", size, created, last_modified, state) VALUES (?1, ?2, ?3, ?4, ?4, 0)"      \
    " ON CONFLICT (name) WHERE state < 3 DO UPDATE SET " column " = ?2, size = ?3, etag = '', modified = '',"        \
    " digest = '', described = 0"

static const struct {
    const char *mark, *put;
} listing_sql[2] = {
    { MARK("listed0"), PUT("listed0") },
    { MARK("listed1"), PUT("listed1") },
};

static int put_with(struct cat_connection *k, const char *sql, const struct listed_image *image, int64_t generation,
                    const int64_t *now)
{
    CAT_QUERY q;
    cat_query_start(&q, k, sql);
    cat_bind_text(&q, image->name);
    cat_bind_int(&q, generation);
    cat_bind_int(&q, image->size > INT64_MAX ? -1 : (int64_t)image->size);
    if (now)
        cat_bind_int(&q, *now);
    return cat_run(&q);
}

static int put_one(struct cat_connection *k, const struct listed_image *image, int64_t generation, int64_t now)
{
    int column = generation & 1;
    struct image_row row;
    int r = 0;
    if (image->meta != NULL && image->meta->size <= INT64_MAX) /* the listing told what describing would */
        r = cat_learn(k, image->name, image->meta, now, &row);
    if (r >= 0 || r == -ESTALE) /* a row with bytes keeps the version that the bytes are of */
        r = put_with(k, listing_sql[column].mark, image, generation, NULL);
    if (r == 0)
        r = cat_renew(k, image->name, now);
    if (r == 0)
        r = put_with(k, listing_sql[column].put, image, generation, &now);
    return r;
}

static int by_name(const void *a, const void *b)
{
    const struct listed_image *const *left = a, *const *right = b;
    return strcmp((*left)->name, (*right)->name);
}

/*
 * IMAGES in the order of the index: a backend that lists by date has names that lie all over it, and each page of the
 * index would go in and out of the small page cache several times a batch. NULL: no memory.
 */
static const struct listed_image **in_order(const struct listed_image *images, size_t n)
{
    const struct listed_image **sorted = calloc(n ? n : 1, sizeof(const struct listed_image *));
    if (!sorted)
        return NULL;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &images[i];
    qsort(sorted, n, sizeof(const struct listed_image *), by_name);
    return sorted;
}

int catalogue_listing_put(struct catalogue *c, int64_t generation, const struct listed_image *images, size_t n,
                          int64_t now)
{
    for (size_t i = 0; i < n; i++)
        if (!image_id_valid(images[i].name))
            return -EINVAL;
    const struct listed_image **sorted = in_order(images, n);
    if (!sorted)
        return -ENOMEM;

    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r >= 0) {
        r = check_generation(k, generation);
        for (size_t i = 0; i < n && r >= 0; i++)
            r = put_one(k, sorted[i], generation, now);
        r = cat_write_end(c, r);
    }
    free(sorted);
    return r < 0 ? r : 0;
}

int catalogue_listing_end(struct catalogue *c, int64_t generation, int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_run_int2(k, "UPDATE listing SET former = ended, former_at = ended_at, ended = ?1, ended_at = ?2"
                         " WHERE begun = ?1 AND ended <> ?1",
                     generation, now);
    r = cat_write_end(c, r == 0 ? -ESTALE : r);
    return r < 0 ? r : 0;
}

int64_t catalogue_listing_time(struct catalogue *c)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT ended_at FROM listing");
    r = cat_step(&q);
    int64_t when = r > 0 ? cat_int(&q, 0) : r;
    cat_query_end(&q);
    cat_read_end(c, k);
    return when;
}

bool catalogue_is_listed(struct catalogue *c, const char *name)
{
    struct cat_connection *k;
    if (cat_read_begin(c, &k) < 0)
        return false;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT 1 FROM images, listing WHERE name = ?1 AND state < 3 AND ended > 0"
                           " AND ended IN (listed0, listed1)");
    cat_bind_text(&q, name);
    bool listed = cat_step(&q) > 0;
    cat_query_end(&q);
    cat_read_end(c, k);
    return listed;
}

/* ---- images that are not listed any more */

struct marks {
    int64_t begun, ended, former, former_at;
};

static int read_marks(struct cat_connection *k, struct marks *ret)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "SELECT begun, ended, former, former_at FROM listing");
    int r = cat_step(&q);
    if (r <= 0)
        return r < 0 ? r : -EBADMSG;
    *ret = (struct marks){ cat_int(&q, 0), cat_int(&q, 1), cat_int(&q, 2), cat_int(&q, 3) };
    return 0;
}

/* 0, of a listing that never was, stands in the rows that none ever named. */
static int64_t mark(int64_t generation)
{
    return generation != 0 ? generation : -1;
}

static int find_gone(struct cat_connection *k, const struct marks *m, bool any, int64_t after, int64_t now, struct gone_row *rows, size_t max)
{
    CAT_QUERY q;
    size_t n = 0;
    int r = 0;
    cat_query_start(&q, k, "SELECT id, name FROM images NOT INDEXED WHERE id > ?1 AND state = 0 AND pinned = 0"
                           " AND listed0 NOT IN (?3, ?4, ?5) AND listed1 NOT IN (?3, ?4, ?5)"
                           " AND max(created, described) NOT BETWEEN ?6 AND ?7 ORDER BY id LIMIT ?2");
    cat_bind_int(&q, after);
    cat_bind_limit(&q, max);
    cat_bind_int(&q, mark(m->begun));
    cat_bind_int(&q, mark(m->ended));
    cat_bind_int(&q, any ? -1 : m->former);
    cat_bind_int(&q, any ? 1 : m->former_at);
    cat_bind_int(&q, any ? 0 : now);
    while (n < max && (r = cat_step(&q)) > 0) {
        rows[n].row = cat_int(&q, 0);
        cat_text(&q, 1, rows[n].name, sizeof rows[n].name);
        n++;
    }
    return r < 0 ? r : (int)n;
}

int catalogue_gone_page(struct catalogue *c, bool any, int64_t after, int64_t now, struct gone_row *rows, size_t max)
{
    struct cat_connection *k;
    struct marks m;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = read_marks(k, &m);
    if (r >= 0)
        r = any || m.former != 0 ? find_gone(k, &m, any, after, now, rows, max) : 0;
    cat_read_end(c, k);
    return r;
}

int catalogue_forget_gone(struct catalogue *c, const struct gone_row *rows, size_t n)
{
    struct cat_connection *k;
    struct marks m;
    int r = cat_write_begin(c, &k), forgotten = 0;
    if (r < 0)
        return r;
    r = read_marks(k, &m);
    for (size_t i = 0; i < n && r >= 0; i++) {
        CAT_QUERY q;
        cat_query_start(&q, k, "DELETE FROM images WHERE id = ?1 AND state = 0 AND pinned = 0"
                               " AND listed0 NOT IN (?2, ?3) AND listed1 NOT IN (?2, ?3)"
                               " AND NOT EXISTS (SELECT 1 FROM queue WHERE queue.name = images.name)");
        cat_bind_int(&q, rows[i].row);
        cat_bind_int(&q, mark(m.begun));
        cat_bind_int(&q, mark(m.ended));
        r = cat_run(&q);
        forgotten += r > 0;
    }
    r = cat_write_end(c, r);
    return r < 0 ? r : forgotten;
}
