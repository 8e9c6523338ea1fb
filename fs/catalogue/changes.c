/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's image rows, changed:
 *
 *      learn          begin           complete
 *   ·  ─────→  known ───────→ partial ────────→ complete
 *                ↑ ↖──────────reset──┴─────────────┘
 *                │        (its file is gone)           retire: from any of these
 *                └── a new row ─────────────── retired ──forget──→ ·
 *
 * Each function is one transaction in the writers' turn; a change names the states it may start from in its WHERE, and
 * "no row changed" is -ESTALE. The triggers of the schema keep the totals and drop maps. No lock beyond the turn.
 */
#include "config-auto.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "catalogue/images.h"
#include "image/chunkmap.h"

int cat_changed_or(int r, int otherwise)
{
    if (r < 0)
        return r;
    return r > 0 ? 0 : otherwise;
}

/* ---- learning */

static void fill_text(char *to, const char *from, size_t size)
{
    if (!to[0])
        cat_copy_text(to, size, from);
}

/* META with what it does not say taken from OLD, which is of the same version. */
static void fill_meta(struct image_meta *meta, const struct image_meta *old)
{
    bool validators = meta->etag[0] || meta->modified[0];
    if (!validators)
        meta->endpoint = old->endpoint;
    if (meta->endpoint == old->endpoint) {
        fill_text(meta->etag, old->etag, sizeof meta->etag);
        fill_text(meta->modified, old->modified, sizeof meta->modified);
    }
    if (meta->digest.algorithm == DIGEST_NONE && !image_meta_digest_is_etag(old)) /* which may have been found to be no digest */
        meta->digest = old->digest;
    fill_text(meta->title, old->title, sizeof meta->title);
    fill_text(meta->disk_format, old->disk_format, sizeof meta->disk_format);
    if (meta->virtual_size == 0 && strcmp(meta->disk_format, old->disk_format) == 0)
        meta->virtual_size = old->virtual_size;
}

/*
 * What ROW says from now on, of which META was told. Bytes are of what the row said when they came: it takes nothing on that may be said of
 * others.
 */
static void merge_meta(struct image_meta *merged, const struct image_row *row, const struct image_meta *meta, bool evident)
{
    const struct image_meta *old = &row->meta;
    *merged = row->state == IMAGE_KNOWN ? *meta : *old;
    if (!evident)
        return;
    if (row->state != IMAGE_KNOWN) {
        fill_meta(merged, meta);
        return;
    }
    /* A digest of another kind does not replace what was known, which may have been published; but an etag that looks like one is less. */
    bool published = old->digest.algorithm != DIGEST_NONE && !image_meta_digest_is_etag(old);
    if (published && old->digest.algorithm != merged->digest.algorithm)
        merged->digest = old->digest;
    fill_meta(merged, old);
}

static void bind_meta(struct cat_query *q, const struct image_meta *meta, char digest[CAT_DIGEST_TEXT])
{
    cat_digest_text(&meta->digest, digest);
    cat_bind_int(q, (int64_t)meta->size);
    cat_bind_text(q, meta->etag);
    cat_bind_text(q, meta->modified);
    cat_bind_int(q, meta->endpoint);
    cat_bind_text(q, digest);
    cat_bind_text(q, meta->title);
    cat_bind_text(q, meta->disk_format);
    cat_bind_int(q, (int64_t)meta->virtual_size);
}

/* What the row of a version made NOW shows as its time: no later answer moves it. */
static int64_t date_of(const struct image_meta *meta, int64_t now)
{
    int64_t date = image_meta_date(meta);
    return date != 0 ? date : now;
}

static int insert_known(struct cat_connection *k, const char *name, const struct image_meta *meta, int64_t now)
{
    char digest[CAT_DIGEST_TEXT];
    CAT_QUERY q;
    cat_query_start(&q, k, "INSERT INTO images (size, etag, modified, endpoint, digest, title, disk_format, virtual_size, name,"
                           " created, last_modified, described, state)"
                           " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?11, ?11, ?10, 0)");
    bind_meta(&q, meta, digest);
    cat_bind_text(&q, name);
    cat_bind_int(&q, now);
    cat_bind_int(&q, date_of(meta, now));
    return cat_run(&q);
}

static int update_meta(struct cat_connection *k, int64_t id, const struct image_meta *meta, int64_t now)
{
    char digest[CAT_DIGEST_TEXT];
    CAT_QUERY q;
    cat_query_start(&q, k, "UPDATE images SET size = ?1, etag = ?2, modified = ?3, endpoint = ?4, digest = ?5,"
                           " title = ?6, disk_format = ?7, virtual_size = ?8, described = ?10 WHERE id = ?9");
    bind_meta(&q, meta, digest);
    cat_bind_int(&q, id);
    cat_bind_int(&q, now);
    return cat_run(&q);
}

/*
 * The time of a version of DATE (0: none is told) that comes after one of the time BEFORE: in another second, as a web server over the mount
 * tells no more of it.
 */
static int64_t date_after(int64_t before, int64_t date, int64_t now)
{
    int64_t then = date != 0 ? date : now;
    return then > before - 2 * NS_PER_S && then < before + NS_PER_S ? before + NS_PER_S : then;
}

/*
 * A new row, known, with what the row ID has, and in its place; that one is retired. It keeps the time, too, when the version has a date: should it turn out
 * to be another version, that brings a date of its own.
 */
static int insert_successor(struct cat_connection *k, int64_t id, int64_t now, int64_t *ret_new)
{
    int r = cat_changed_or(cat_run_int(k, "UPDATE images SET state = 3 WHERE id = ?1 AND state < 3", id), -ESTALE);
    if (r >= 0)
        r = cat_run_int2(k, "INSERT INTO images (name, state, size, endpoint, etag, modified, digest, title, disk_format, virtual_size,"
                            " described, listed0, listed1, created, last_modified, heir_of)"
                            " SELECT name, 0, size, endpoint, etag, modified, digest, title, disk_format, virtual_size,"
                            " described, listed0, listed1, CASE modified WHEN '' THEN ?2 ELSE created END, ?2, place"
                            " FROM images WHERE id = ?1", id, now);
    if (r < 0)
        return r;
    *ret_new = sqlite3_last_insert_rowid(k->db);
    return cat_run_int(k, "UPDATE images SET heir_of = 0 WHERE id = ?1", id);
}

/*
 * Another version of an image that is known only: a new row, as the kernel may still have bytes of the old one in its pages, from when it
 * was fetched or passed through.
 */
static int renew(struct cat_connection *k, struct image_row *row, int64_t date, int64_t now)
{
    int64_t fresh;
    if (row->meta.size == IMAGE_SIZE_UNKNOWN) /* never read: its time is that of the version before, if there was one */
        return cat_changed_or(cat_run_int2(k, "UPDATE images SET created = ?2, last_modified = ?2 WHERE id = ?1", row->row,
                                           date_after(row->created, date, now)), -ESTALE);
    int r = insert_successor(k, row->row, now, &fresh);
    if (r >= 0 && row->pinned)
        r = cat_run_int(k, "UPDATE images SET pinned = 1 WHERE id = ?1", fresh);
    if (r >= 0)
        r = cat_run_int2(k, "UPDATE images SET created = ?2, last_modified = ?2 WHERE id = ?1", fresh, date_after(row->created, date, now));
    if (r >= 0)
        r = cat_run_int(k, "DELETE FROM images WHERE id = ?1", row->row);
    if (r < 0)
        return r;
    row->row = fresh;
    return 0;
}

int cat_renew(struct cat_connection *k, const char *name, int64_t now)
{
    struct image_row row;
    int r = cat_image_find(k, name, &row);
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    return row.state == IMAGE_KNOWN ? renew(k, &row, 0, now) : 0;
}

static int leave_file(struct cat_connection *k, const struct image_row *row, bool unpinned)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "UPDATE images SET state = 0, bytes = 0, tag = '' WHERE id = ?1 AND state = 1 AND tag = ?2 AND pinned <= ?3");
    cat_bind_int(&q, row->row);
    cat_bind_text(&q, row->tag);
    cat_bind_int(&q, !unpinned);
    return cat_changed_or(cat_run(&q), -ESTALE);
}

int catalogue_replace_partial(struct catalogue *c, const struct image_row *row, bool unpinned, int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = leave_file(k, row, unpinned);
    return cat_write_end(c, r < 0 ? r : cat_renew(k, row->name, now));
}

int cat_learn(struct cat_connection *k, const char *name, const struct image_meta *meta, int64_t now, struct image_row *ret)
{
    struct image_row row;
    int r = cat_image_find(k, name, &row);
    if (r == -ENOENT) {
        r = insert_known(k, name, meta, now);
    } else if (r >= 0) {
        struct image_meta merged;
        bool evident = row.described == 0 ? image_meta_same_version(&row.meta, meta) : image_meta_is_evident(&row.meta, meta);
        if (row.state != IMAGE_KNOWN && !image_meta_same_version(&row.meta, meta))
            return -ESTALE;
        if (row.state == IMAGE_KNOWN && !evident && (r = renew(k, &row, image_meta_date(meta), now)) < 0)
            return r;
        merge_meta(&merged, &row, meta, evident);
        r = update_meta(k, row.row, &merged, now);
    }
    return r < 0 ? r : cat_image_find(k, name, ret);
}

int catalogue_learn(struct catalogue *c, const char *name, const struct image_meta *meta, int64_t now,
                    struct image_row *ret)
{
    if (meta->size > INT64_MAX || !image_id_valid(name))
        return -EINVAL;
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    struct image_row row;
    r = cat_write_end(c, cat_learn(k, name, meta, now, &row));
    if (r < 0)
        return r;
    *ret = row;
    return 0;
}

int catalogue_describe(struct catalogue *c, int64_t row, const struct image_meta *meta, int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    return cat_write_end(c, cat_changed_or(update_meta(k, row, meta, now), -ESTALE));
}

/* ---- from state to state */

static int begin(struct cat_connection *k, int64_t id, const char *tag, int64_t now)
{
    CAT_QUERY image;
    cat_query_start(&image, k, "UPDATE images SET state = 1, bytes = 0, last_modified = ?2, tag = ?3"
                               " WHERE id = ?1 AND state = 0 AND size >= 0");
    cat_bind_int(&image, id);
    cat_bind_int(&image, now);
    cat_bind_text(&image, tag);
    int r = cat_changed_or(cat_run(&image), -ESTALE);
    if (r < 0)
        return r;

    struct image_row row;
    r = cat_image_get(k, id, &row);
    if (r < 0)
        return r;
    uint64_t chunk = chunk_size_of(row.meta.size);
    uint64_t chunks = row.meta.size / chunk + (row.meta.size % chunk != 0);
    CAT_QUERY q;
    cat_query_start(&q, k, "INSERT OR REPLACE INTO maps (id, bits) VALUES (?1, ?2)");
    cat_bind_int(&q, id);
    cat_bind_zeros(&q, (chunks + 7) / 8);
    return cat_run(&q);
}

int catalogue_begin(struct catalogue *c, int64_t row, const char *tag, int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_write_end(c, begin(k, row, tag, now));
    if (r >= 0 && tag[0] == '\0')
        r = cat_sync(c);
    return r < 0 ? r : 0;
}

static int checkpoint(struct cat_connection *k, int64_t id, const void *bits, size_t length, uint64_t bytes,
                      int64_t now)
{
    CAT_QUERY image;
    cat_query_start(&image, k, "UPDATE images SET bytes = ?2, last_modified = ?3 WHERE id = ?1 AND state = 1");
    cat_bind_int(&image, id);
    cat_bind_int(&image, (int64_t)bytes);
    cat_bind_int(&image, now);
    int r = cat_changed_or(cat_run(&image), -ESTALE);
    if (r < 0)
        return r;

    CAT_QUERY map;
    cat_query_start(&map, k, "UPDATE maps SET bits = ?2 WHERE id = ?1");
    cat_bind_int(&map, id);
    cat_bind_blob(&map, bits, length);
    return cat_changed_or(cat_run(&map), -EBADMSG);
}

int catalogue_checkpoint(struct catalogue *c, int64_t row, const void *bits, size_t length, uint64_t bytes,
                         int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    return cat_write_end(c, checkpoint(k, row, bits, length, bytes, now));
}

static int set_tag(struct cat_connection *k, int64_t id, const char *tag)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "UPDATE images SET tag = ?2 WHERE id = ?1");
    cat_bind_int(&q, id);
    cat_bind_text(&q, tag);
    return cat_run(&q);
}

/* From known, or from partial, too. */
static int complete(struct cat_connection *k, int64_t id, enum image_state from, const struct digest *digest, int64_t now)
{
    char text[CAT_DIGEST_TEXT];
    cat_digest_text(digest, text);
    CAT_QUERY q;
    cat_query_start(&q, k, "UPDATE images SET state = 2, bytes = size, last_modified = ?2, error = '',"
                           " last_accessed = max(last_accessed, ?2), digest = CASE ?3 WHEN '' THEN digest ELSE ?3 END"
                           " WHERE id = ?1 AND state <= ?4 AND size >= 0");
    cat_bind_int(&q, id);
    cat_bind_int(&q, now);
    cat_bind_text(&q, text);
    cat_bind_int(&q, from);
    int r = cat_changed_or(cat_run(&q), -ESTALE);
    if (r >= 0)
        r = cat_run_int(k, "DELETE FROM queue WHERE name = (SELECT name FROM images WHERE id = ?1)", id);
    if (r >= 0)
        r = cat_run_int(k, "DELETE FROM invalid WHERE name = (SELECT name FROM images WHERE id = ?1)", id);
    return r;
}

static int complete_from(struct catalogue *c, int64_t row, enum image_state from, const char *tag, const struct digest *digest,
                         int64_t now)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = complete(k, row, from, digest, now);
    if (r >= 0 && tag)
        r = set_tag(k, row, tag);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}

int catalogue_complete(struct catalogue *c, int64_t row, const struct digest *digest, int64_t now)
{
    return complete_from(c, row, IMAGE_PARTIAL, NULL, digest, now);
}

int catalogue_adopt(struct catalogue *c, int64_t row, const char *tag, const struct digest *digest, int64_t now)
{
    return complete_from(c, row, IMAGE_KNOWN, tag, digest, now);
}

/* Of another version nothing is known; but it is later than this one, see renew(). */
static int forget_version(struct cat_connection *k, int64_t old, int64_t fresh)
{
    return cat_run_int2(k, "UPDATE images SET size = -1, etag = '', modified = '', digest = '', disk_format = '', virtual_size = 0, described = 0, endpoint = 0,"
                           " (created, pinned) = (SELECT created, pinned FROM images WHERE id = ?2) WHERE id = ?1", fresh, old);
}

static int retire(struct cat_connection *k, int64_t id, bool same_version, int64_t now, int64_t *ret_new)
{
    int r = insert_successor(k, id, now, ret_new);
    return r < 0 || same_version ? r : forget_version(k, id, *ret_new);
}

int catalogue_retire(struct catalogue *c, int64_t row, bool same_version, int64_t now, int64_t *ret_new)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    int64_t fresh = 0;
    r = cat_write_end(c, retire(k, row, same_version, now, &fresh));
    if (r < 0)
        return r;
    if (ret_new)
        *ret_new = fresh;
    return 0;
}

static int evict(struct cat_connection *k, int64_t id, int64_t now, int64_t *ret_new)
{
    struct image_row row;
    int r = cat_image_get(k, id, &row);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    return row.state == IMAGE_COMPLETE && !row.pinned ? insert_successor(k, id, now, ret_new) : -ESTALE;
}

int catalogue_evict(struct catalogue *c, int64_t row, int64_t now, int64_t *ret_new)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    int64_t fresh = 0;
    r = cat_write_end(c, evict(k, row, now, &fresh));
    if (r < 0)
        return r;
    *ret_new = fresh;
    return 0;
}

int catalogue_forget(struct catalogue *c, int64_t row)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_write_end(c, cat_run_int(k, "DELETE FROM images WHERE id = ?1", row));
    return r < 0 ? r : 0;
}
