/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Glance's own index of an image cache: cache.db of its sqlite driver, whose table is
 *
 *   cached_images (image_id TEXT PRIMARY KEY, last_accessed REAL, last_modified REAL, size INTEGER, hits INTEGER,
 *                  checksum TEXT)      -- times in seconds since 1970; checksum: MD5, or NULL
 *
 * It is only read, while Glance may be using it. Where reading it in the ordinary way would need writing (it is in WAL
 * mode, or has a journal to be rolled back), the main file is read as it stands: the worst that can come of it is a
 * hit count or time of a moment ago.
 *
 * The connection is SQLite's serialized kind and each look-up prepares its own statement: no lock of ours.
 */
#include "config-auto.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "catalogue/private.h"

struct glance_index {
    sqlite3 *db;
};

enum { GLANCE_BUSY_MS = 2000, GLANCE_VALUE_MAX = 1 << 20 /* bytes; of a row, too */ };

static const char find_sql[] =
    "SELECT size, hits, last_accessed, last_modified, checksum FROM cached_images WHERE image_id = ?1";

/* Looks at the header (sqlite.org/fileformat.html): a database, and is it in WAL mode? */
static int read_header(const char *path, bool *ret_wal)
{
    unsigned char header[100];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    ssize_t n = pread(fd, header, sizeof header, 0);
    int r = n < 0 ? -errno : 0;
    close(fd);
    if (r < 0)
        return r;
    if (n < (ssize_t)sizeof header || memcmp(header, "SQLite format 3", 16))
        return -EBADMSG;
    *ret_wal = header[18] == 2 || header[19] == 2;
    return 0;
}

/* "file:PATH?OPTIONS", PATH escaped. NULL: no memory. */
static char *make_uri(const char *path, const char *options)
{
    size_t size = 5 + 3 * strlen(path) + strlen(options) + 1;
    char *uri = malloc(size);
    if (!uri)
        return NULL;
    char *to = uri + sprintf(uri, "file:");
    for (const char *from = path; *from; from++) {
        if (isalnum((unsigned char)*from) || strchr("/._-", *from))
            *to++ = *from;
        else
            to += sprintf(to, "%%%02X", (unsigned)(unsigned char)*from);
    }
    strcpy(to, options);
    return uri;
}

static int open_with(const char *path, const char *options, sqlite3 **ret)
{
    char *uri = make_uri(path, options);
    if (!uri)
        return -ENOMEM;
    sqlite3 *db = NULL;
    int code = sqlite3_open_v2(uri, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_FULLMUTEX, NULL);
    free(uri);
    if (code == SQLITE_OK) {
        sqlite3_busy_timeout(db, GLANCE_BUSY_MS);
        /* What somebody else wrote is data: no view in place of the table that computes for ever, no value without bounds. */
        sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
        sqlite3_limit(db, SQLITE_LIMIT_LENGTH, GLANCE_VALUE_MAX);
        sqlite3_exec(db, "PRAGMA cache_size = -512", NULL, NULL, NULL);
        sqlite3_stmt *statement;
        code = sqlite3_prepare_v2(db, find_sql, -1, &statement, NULL);
        if (code == SQLITE_OK)
            sqlite3_finalize(statement);
    }
    if (code != SQLITE_OK) {
        int r = cat_errno(db, code);
        sqlite3_close(db);
        return r;
    }
    *ret = db;
    return 0;
}

int glance_index_open(const char *path, struct glance_index **ret)
{
    bool wal = false;
    int r = read_header(path, &wal);
    if (r < 0)
        return r;
    struct glance_index *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    r = wal ? -EROFS : open_with(path, "?mode=ro", &g->db);
    if (r < 0 && r != -EBADMSG && r != -ENOMEM && r != -EBUSY)
        r = open_with(path, "?mode=ro&immutable=1", &g->db);
    if (r < 0) {
        free(g);
        return r;
    }
    *ret = g;
    return 0;
}

void glance_index_close(struct glance_index *g)
{
    if (!g)
        return;
    sqlite3_close(g->db);
    free(g);
}

/* Seconds to nanoseconds; 0 for what is no time between 1970 and 2262. */
static int64_t nanoseconds(double seconds)
{
    if (!(seconds > 0 && seconds < 9.2e9))
        return 0;
    int64_t whole = (int64_t)seconds;
    return whole * NS_PER_S + (int64_t)((seconds - (double)whole) * 1e9 + 0.5);
}

int glance_index_find(struct glance_index *g, const char *name, struct glance_row *ret)
{
    struct cat_query q = { .db = g->db };
    int code = sqlite3_prepare_v2(g->db, find_sql, -1, &q.statement, NULL);
    if (code != SQLITE_OK)
        return cat_errno(g->db, code);
    cat_bind_text(&q, name);
    int r = cat_step(&q);
    if (r > 0) {
        struct glance_row row = { .size = cat_unsigned(&q, 0), .hits = cat_unsigned(&q, 1) };
        row.last_accessed = nanoseconds(sqlite3_column_double(q.statement, 2));
        row.last_modified = nanoseconds(sqlite3_column_double(q.statement, 3));
        const char *checksum = (const char *)sqlite3_column_text(q.statement, 4);
        if (!checksum || digest_set(DIGEST_MD5, checksum, strlen(checksum), &row.checksum) < 0)
            row.checksum.algorithm = DIGEST_NONE;
        *ret = row;
    }
    sqlite3_finalize(q.statement);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    return 0;
}
