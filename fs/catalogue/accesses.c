/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When the catalogue's images were read: hits and times of access, and what becomes of them when the clock is set. Each function is one
 * transaction. No lock beyond the writers' turn.
 */
#include "config-auto.h"

#include "catalogue/images.h"

static int touch_one(struct cat_connection *k, const struct catalogue_touch *touch)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "UPDATE images SET hits = hits + ?2, last_accessed = max(last_accessed, ?3) WHERE id = ?1");
    cat_bind_int(&q, touch->row);
    cat_bind_int(&q, (int64_t)touch->hits);
    cat_bind_int(&q, touch->accessed);
    return cat_run(&q);
}

int catalogue_touch(struct catalogue *c, const struct catalogue_touch *touches, size_t n)
{
    if (n == 0)
        return 0;
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = touch_one(k, &touches[i]);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}

int catalogue_shift_accessed(struct catalogue *c, int64_t step, int64_t after, int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE images INDEXED BY images_here SET last_accessed = max(0, last_accessed + ?1)"
                           " WHERE state = 2 AND state > 0 AND last_accessed NOT BETWEEN ?2 AND ?3");
    cat_bind_int(&q, step);
    cat_bind_int(&q, after);
    cat_bind_int(&q, now);
    r = cat_run(&q);
    cat_query_end(&q);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}

static int newest_access(struct catalogue *c, int64_t *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT last_accessed FROM images INDEXED BY images_lru WHERE state = 2 AND pinned = 0"
                           " ORDER BY last_accessed DESC LIMIT 1");
    r = cat_step(&q);
    *ret = r > 0 ? cat_int(&q, 0) : 0;
    cat_query_end(&q);
    cat_read_end(c, k);
    return r < 0 ? r : 0;
}

int catalogue_end_future(struct catalogue *c, int64_t now, int64_t latest)
{
    struct cat_connection *k;
    int64_t newest;
    int r = newest_access(c, &newest);
    if (r < 0 || newest <= latest)
        return r;
    r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "UPDATE images INDEXED BY images_lru SET last_accessed = max(0, last_accessed - ?1)"
                           " WHERE state = 2 AND pinned = 0 AND last_accessed > ?2");
    cat_bind_int(&q, newest - now);
    cat_bind_int(&q, latest);
    r = cat_run(&q);
    cat_query_end(&q);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}
