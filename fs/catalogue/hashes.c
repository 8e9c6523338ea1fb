/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows by the SHA-1 value of their names. images.hash is its first 63 bits, and NULL in rows that are newer than the note: rows are numbered
 * upwards, so that what is to be done is known without looking for it, and who never asks for a hash pays for none. No lock beyond the
 * writers' turn.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/images.h"
#include "image/digest.h"

enum { HEX = 15 }; /* digits of a hash that an integer of SQLite's holds */

/*
 * Hashes lie all over their index: each transaction writes most of its pages once, so that a million rows want few of them, and those pages in
 * memory meanwhile. Others who write wait for one of them, some tenths of a second.
 */
enum { BATCH = 16384, CACHE_KIB = 32768 };

static int64_t first_bits(const char *hex)
{
    char digits[HEX + 1];
    memcpy(digits, hex, HEX);
    digits[HEX] = '\0';
    return (int64_t)strtoull(digits, NULL, 16);
}

/* How far the rows have their hash, and the newest there is. */
static int read_marks(struct cat_connection *k, int64_t *ret_hashed, int64_t *ret_newest)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "SELECT coalesce((SELECT value FROM notes WHERE key = 'names_hashed'), 0), coalesce(max(id), 0) FROM images");
    int r = cat_step(&q);
    if (r > 0) {
        *ret_hashed = cat_int(&q, 0);
        *ret_newest = cat_int(&q, 1);
    }
    return r == 0 ? -EBADMSG : r;
}

static int read_batch(struct cat_connection *k, int64_t after, struct gone_row *rows)
{
    CAT_QUERY q;
    int n = 0, r = 0;
    cat_query_start(&q, k, "SELECT id, name FROM images WHERE id > ?1 ORDER BY id LIMIT ?2");
    cat_bind_int(&q, after);
    cat_bind_int(&q, BATCH);
    while (n < BATCH && (r = cat_step(&q)) > 0) {
        rows[n].row = cat_int(&q, 0);
        cat_text(&q, 1, rows[n].name, sizeof rows[n].name);
        n++;
    }
    return r < 0 ? r : n;
}

/* In a transaction: the next rows get their hash. How many. */
static int hash_batch(struct cat_connection *k, struct gone_row *rows)
{
    int64_t hashed, newest;
    int r = read_marks(k, &hashed, &newest);
    int n = r < 0 ? r : read_batch(k, hashed, rows);
    for (int i = 0; i < n; i++) {
        struct digest digest;
        r = digest_text(DIGEST_SHA1, rows[i].name, &digest);
        if (r >= 0)
            r = cat_run_int2(k, "UPDATE images SET hash = ?2 WHERE id = ?1", rows[i].row, first_bits(digest.hex));
        if (r < 0)
            return r;
    }
    if (n <= 0)
        return n;
    r = cat_run_int(k, "INSERT INTO notes (key, value) VALUES ('names_hashed', ?1) ON CONFLICT (key) DO UPDATE SET value = ?1", rows[n - 1].row);
    return r < 0 ? r : n;
}

static int set_cache(struct cat_connection *k, int kib)
{
    char sql[64];
    snprintf(sql, sizeof(sql), "PRAGMA cache_size = -%d", kib);
    return cat_execute(k->db, sql);
}

static void shrink(struct catalogue *c)
{
    struct cat_connection *k;
    if (cat_write_begin(c, &k) < 0)
        return;
    set_cache(k, CAT_CACHE_KIB);
    sqlite3_db_release_memory(k->db);
    cat_write_end(c, 0);
}

int catalogue_hash_names(struct catalogue *c, const atomic_bool *stop)
{
    struct gone_row *rows = malloc(BATCH * sizeof(*rows));
    struct cat_connection *k;
    bool large = false;
    int r = rows == NULL ? -ENOMEM : 1;
    while (r > 0 && (stop == NULL || !atomic_load(stop)) && (r = cat_write_begin(c, &k)) >= 0) {
        if (large)
            set_cache(k, CACHE_KIB);
        r = cat_write_end(c, hash_batch(k, rows));
        large = large || r == BATCH;
    }
    free(rows);
    if (large)
        shrink(c);
    return r < 0 ? r : 0;
}

static int all_hashed(struct catalogue *c)
{
    struct cat_connection *k;
    int64_t hashed = 0, newest = 0;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = read_marks(k, &hashed, &newest);
    cat_read_end(c, k);
    return r < 0 ? r : hashed >= newest;
}

static int find(struct catalogue *c, const char *hex, struct image_row *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct image_row *row = malloc(sizeof(*row));
    struct cat_query q;
    struct digest digest;
    bool found = false;
    cat_query_start(&q, k, "SELECT " CAT_IMAGE_COLUMNS " FROM images WHERE hash = ?1 AND state < 3");
    cat_bind_int(&q, first_bits(hex));
    r = row == NULL ? -ENOMEM : 0;
    while (r >= 0 && !found && (r = cat_step(&q)) > 0) {
        r = cat_image_row(&q, row);
        if (r >= 0)
            r = digest_text(DIGEST_SHA1, row->name, &digest);
        found = r >= 0 && strcmp(digest.hex, hex) == 0;
    }
    cat_query_end(&q);
    cat_read_end(c, k);
    if (found)
        *ret = *row;
    free(row);
    return r < 0 ? r : found ? 0 : -ENOENT;
}

int catalogue_find_hash(struct catalogue *c, const char *hex, struct image_row *ret)
{
    struct digest digest;
    if (digest_set(DIGEST_SHA1, hex, strlen(hex), &digest) < 0)
        return -ENOENT;
    int r = find(c, digest.hex, ret);
    if (r != -ENOENT || (r = all_hashed(c)) != 0)
        return r > 0 ? -ENOENT : r;
    r = catalogue_hash_names(c, NULL);
    return r < 0 ? r : find(c, digest.hex, ret);
}
