/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's digests, as files beside the images (SHA256SUMS) publish them.
 *
 * A file is put line by line, and most often says what it said before: a row that stays is not written. What was put is remembered as a
 * number a line, so that an update can tell whether any row was not, and only then looks which. An update belongs to one thread.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue/private.h"

enum { PAGE = 256 };

struct digests_update {
    struct catalogue *catalogue;
    uint64_t *seen; /* of each line put, see number_of() */
    size_t n, room;
    char source[];
};

/* FNV-1a. Two lines with one number would only keep a row whose line is gone. */
static uint64_t number_of(const char *name, int64_t algorithm)
{
    uint64_t number = UINT64_C(0xcbf29ce484222325);
    for (const unsigned char *at = (const unsigned char *)name; *at; at++)
        number = (number ^ *at) * UINT64_C(0x100000001b3);
    return (number ^ ((uint64_t)algorithm + 256)) * UINT64_C(0x100000001b3);
}

static int by_number(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* The order of the rows; of two lines for one name the later one counts. */
static int by_name(const void *a, const void *b)
{
    const struct published_digest *const *left = a, *const *right = b;
    int order = strcmp((*left)->name, (*right)->name);
    return order != 0 ? order : (*left > *right) - (*left < *right);
}

static int count_rows(struct cat_connection *k, const char *source, int64_t *ret)
{
    CAT_QUERY q;
    cat_query_start(&q, k, "SELECT digests FROM digest_sources WHERE source = ?1");
    cat_bind_text(&q, source);
    int r = cat_step(&q);
    if (r < 0)
        return r;
    *ret = r > 0 ? cat_int(&q, 0) : -1;
    return 0;
}

/* The source is there, and not full of rows from updates that were never ended. */
static int prepare(struct catalogue *c, const char *source)
{
    struct cat_connection *k;
    int64_t rows = -1;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    r = count_rows(k, source, &rows);
    cat_read_end(c, k);
    if (r < 0 || (rows >= 0 && rows <= CATALOGUE_DIGESTS_MAX))
        return r;

    r = cat_write_begin(c, &k);
    if (r < 0)
        return r;
    r = cat_run_name(k, "INSERT INTO digest_sources (source, digests) VALUES (?1, 0) ON CONFLICT (source) DO NOTHING", source);
    if (r >= 0)
        r = cat_run_name(k, "DELETE FROM digests WHERE source = ?1", source);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}

int catalogue_digests_begin(struct catalogue *c, const char *source, struct digests_update **ret)
{
    size_t length = strlen(source) + 1;
    struct digests_update *u = calloc(1, sizeof *u + length);
    if (!u)
        return -ENOMEM;
    u->catalogue = c;
    memcpy(u->source, source, length);
    int r = prepare(c, source);
    if (r < 0) {
        free(u);
        return r;
    }
    *ret = u;
    return 0;
}

void catalogue_digests_free(struct digests_update *u)
{
    if (!u)
        return;
    free(u->seen);
    free(u);
}

static int remember(struct digests_update *u, const struct published_digest *digests, size_t n)
{
    if (n > CATALOGUE_DIGESTS_MAX - u->n)
        return -EFBIG;
    if (u->n + n > u->room) {
        size_t room = 2 * (u->n + n);
        uint64_t *seen = realloc(u->seen, room * sizeof *seen);
        if (!seen)
            return -ENOMEM;
        u->seen = seen;
        u->room = room;
    }
    for (size_t i = 0; i < n; i++)
        u->seen[u->n++] = number_of(digests[i].name, digests[i].digest.algorithm);
    return 0;
}

static int put_one(struct cat_connection *k, const char *source, const struct published_digest *published)
{
    char text[CAT_DIGEST_TEXT];
    cat_digest_text(&published->digest, text);
    CAT_QUERY q;
    cat_query_start(&q, k, "INSERT INTO digests (source, name, algorithm, digest) VALUES (?1, ?2, ?3, ?4)"
                           " ON CONFLICT (source, name, algorithm) DO UPDATE SET digest = ?4 WHERE digest <> ?4");
    cat_bind_text(&q, source);
    cat_bind_text(&q, published->name);
    cat_bind_int(&q, published->digest.algorithm);
    cat_bind_text(&q, text);
    return cat_run(&q);
}

static int put_batch(struct digests_update *u, const struct published_digest **sorted, size_t n)
{
    struct cat_connection *k;
    int r = cat_write_begin(u->catalogue, &k);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n && r >= 0; i++)
        r = put_one(k, u->source, sorted[i]);
    r = cat_write_end(u->catalogue, r);
    return r < 0 ? r : 0;
}

int catalogue_digests_put(struct digests_update *u, const struct published_digest *digests, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (digests[i].digest.algorithm == DIGEST_NONE || !image_id_valid(digests[i].name))
            return -EINVAL;
    const struct published_digest **sorted = calloc(n ? n : 1, sizeof(const struct published_digest *));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &digests[i];
    qsort(sorted, n, sizeof(const struct published_digest *), by_name);
    int r = remember(u, digests, n);
    if (r >= 0)
        r = put_batch(u, sorted, n);
    free(sorted);
    return r;
}

struct gone {
    char name[IMAGE_ID_MAX + 1];
    int64_t algorithm;
    bool put;
};

/* Up to PAGE rows behind those of the name AFTER. How many. */
static int read_page(struct digests_update *u, const char *after, struct gone *rows)
{
    struct cat_connection *k;
    int r = cat_read_begin(u->catalogue, &k), n = 0;
    if (r < 0)
        return r;
    struct cat_query q;
    cat_query_start(&q, k, "SELECT name, algorithm FROM digests WHERE source = ?1 AND name > ?2 ORDER BY name, algorithm LIMIT ?3");
    cat_bind_text(&q, u->source);
    cat_bind_text(&q, after);
    cat_bind_limit(&q, PAGE);
    while ((r = cat_step(&q)) > 0 && n < PAGE) {
        struct gone *row = &rows[n++];
        cat_text(&q, 0, row->name, sizeof row->name);
        row->algorithm = cat_int(&q, 1);
        uint64_t number = number_of(row->name, row->algorithm);
        row->put = u->n > 0 && bsearch(&number, u->seen, u->n, sizeof number, by_number) != NULL;
    }
    cat_query_end(&q);
    cat_read_end(u->catalogue, k);
    return r < 0 ? r : n;
}

static int drop_gone(struct digests_update *u, const struct gone *rows, int n)
{
    struct cat_connection *k;
    int r = cat_write_begin(u->catalogue, &k);
    if (r < 0)
        return r;
    for (int i = 0; i < n && r >= 0; i++) {
        if (rows[i].put)
            continue;
        CAT_QUERY q;
        cat_query_start(&q, k, "DELETE FROM digests WHERE source = ?1 AND name = ?2 AND algorithm = ?3");
        cat_bind_text(&q, u->source);
        cat_bind_text(&q, rows[i].name);
        cat_bind_int(&q, rows[i].algorithm);
        r = cat_run(&q);
    }
    r = cat_write_end(u->catalogue, r);
    return r < 0 ? r : 0;
}

/* A page goes on behind a name: one that the page before may hold a part of only is left to the next. */
static int drop_all_gone(struct digests_update *u)
{
    struct gone *rows = malloc(PAGE * sizeof *rows);
    char after[IMAGE_ID_MAX + 1] = "";
    int n = PAGE, r = rows ? 0 : -ENOMEM;
    while (r == 0 && n == PAGE && (n = r = read_page(u, after, rows)) > 0) {
        int kept = n;
        if (n == PAGE)
            while (kept > 1 && strcmp(rows[kept - 1].name, rows[n - 1].name) == 0)
                kept--;
        r = drop_gone(u, rows, kept);
        memcpy(after, rows[kept - 1].name, sizeof after);
    }
    free(rows);
    return r < 0 ? r : 0;
}

int catalogue_digests_end(struct digests_update *u)
{
    size_t distinct = 0;
    if (u->n > 0)
        qsort(u->seen, u->n, sizeof *u->seen, by_number);
    for (size_t i = 0; i < u->n; i++)
        if (i == 0 || u->seen[i] != u->seen[i - 1])
            u->seen[distinct++] = u->seen[i];
    u->n = distinct;

    struct cat_connection *k;
    int64_t rows = 0;
    int r = cat_read_begin(u->catalogue, &k);
    if (r < 0)
        return r;
    r = count_rows(k, u->source, &rows);
    cat_read_end(u->catalogue, k);
    return r < 0 || rows <= (int64_t)distinct ? r : drop_all_gone(u);
}

int catalogue_digest_of(struct catalogue *c, const char *name, struct digest *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;
    struct digest best = { .algorithm = DIGEST_NONE };
    struct cat_query q;
    cat_query_start(&q, k, "SELECT digest FROM digest_sources AS sources CROSS JOIN digests USING (source) WHERE name = ?1");
    cat_bind_text(&q, name);
    while ((r = cat_step(&q)) > 0) {
        struct digest digest;
        cat_digest(&q, 0, &digest);
        if (digest.algorithm > best.algorithm)
            best = digest;
    }
    cat_query_end(&q);
    cat_read_end(c, k);
    if (r < 0)
        return r;
    if (best.algorithm == DIGEST_NONE)
        return -ENOENT;
    *ret = best;
    return 0;
}
