/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's statements: SQLite connections that keep what they prepared, binding, columns, and the translation of
 * SQLite's results into errno.
 *
 * No lock: a connection is used by one thread at a time.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "catalogue/private.h"

/* What the operating system said, where SQLite only knows that it could not read, write or open. */
static int system_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return -ENOSPC;
    case EACCES:
    case EPERM:
    case EROFS:
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EFBIG:
        return -error;
    default:
        return -EIO;
    }
}

/* What the system said of the log or the database, where SQLite keeps it with the file only. */
static int file_errno(sqlite3 *db)
{
    sqlite3_file *log = NULL;
    int of_database = 0, of_log = 0;
    if (!db)
        return 0;
    sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &of_database);
    if (sqlite3_file_control(db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &of_log);
    return of_log ? of_log : of_database;
}

/* SQLite calls it damage, too, when the disk does not give a page. */
static bool is_unreadable(sqlite3 *db)
{
    int error = file_errno(db);
    return error == EIO || error == ENXIO;
}

int cat_errno(sqlite3 *db, int code)
{
    if ((code & 0xff) == SQLITE_CORRUPT && is_unreadable(db))
        return -EIO;
    if (code == SQLITE_IOERR_NOMEM)
        return -ENOMEM;
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_INTERRUPT:
        return -EINTR;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_ERROR: /* a table, column or index is missing: our SQL is the same every time */
    case SQLITE_SCHEMA:
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
        return -EBADMSG;
    default:
        return system_errno(db && sqlite3_system_errno(db) ? sqlite3_system_errno(db) : file_errno(db));
    }
}

int cat_execute(sqlite3 *db, const char *sql)
{
    return cat_errno(db, sqlite3_exec(db, sql, NULL, NULL, NULL));
}

int cat_pragma(sqlite3 *db, const char *sql, int64_t *ret)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return cat_errno(db, code);
    code = sqlite3_step(statement);
    int64_t value = code == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    int r = code == SQLITE_DONE ? -EBADMSG : cat_errno(db, code);
    sqlite3_finalize(statement);
    if (r < 0)
        return r;
    *ret = value;
    return 0;
}

int cat_connection_open(struct catalogue *c, struct cat_connection **ret)
{
    const char *path = c->path;
    struct cat_connection *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->catalogue = c;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (c->memory ? SQLITE_OPEN_CREATE : 0);
    int code = sqlite3_open_v2(path, &k->db, flags, c->memory ? "memdb" : NULL);
    int r = cat_errno(k->db, code);
    /* Where it may not write, SQLite is content to read; we are not. */
    if (r >= 0 && sqlite3_db_readonly(k->db, "main") != 0)
        r = access(path, W_OK) < 0 ? -errno : -EROFS;
    if (r >= 0) {
        if (!c->memory)
            cat_guard(k->db);
        sqlite3_extended_result_codes(k->db, 1);
        sqlite3_busy_timeout(k->db, CAT_BUSY_MS);
        sqlite3_db_config(k->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(k->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        char sql[256];
        snprintf(sql, sizeof sql,
                 "PRAGMA cache_size = -%d; PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY;"
                 "PRAGMA cell_size_check = 1; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 16777216",
                 CAT_CACHE_KIB);
        r = cat_execute(k->db, sql);
        int grow = CAT_GROW;
        sqlite3_file_control(k->db, "main", SQLITE_FCNTL_CHUNK_SIZE, &grow);
    }
    if (r < 0) {
        cat_connection_close(k);
        return r;
    }
    *ret = k;
    return 0;
}

void cat_connection_close(struct cat_connection *k)
{
    if (!k)
        return;
    for (unsigned i = 0; i < k->cached; i++)
        sqlite3_finalize(k->cache[i].statement);
    sqlite3_close(k->db);
    free(k);
}

void cat_query_start(struct cat_query *q, struct cat_connection *k, const char *sql)
{
    *q = (struct cat_query){ .db = k->db, .catalogue = k->catalogue };
    for (unsigned i = 0; i < k->cached; i++) {
        if (k->cache[i].sql == sql) {
            q->statement = k->cache[i].statement;
            return;
        }
    }
    assert(k->cached < CAT_STATEMENTS);
    int code = sqlite3_prepare_v3(k->db, sql, -1, SQLITE_PREPARE_PERSISTENT, &q->statement, NULL);
    q->error = cat_errno(k->db, code);
    if (q->error < 0) {
        cat_note_error(k->catalogue, q->error);
        return;
    }
    k->cache[k->cached].sql = sql;
    k->cache[k->cached].statement = q->statement;
    k->cached++;
}

static void bound(struct cat_query *q, int code)
{
    assert(code != SQLITE_RANGE && code != SQLITE_MISUSE);
    q->error = cat_errno(q->db, code);
}

void cat_bind_int(struct cat_query *q, int64_t value)
{
    if (q->error >= 0)
        bound(q, sqlite3_bind_int64(q->statement, ++q->bound, value));
}

void cat_bind_limit(struct cat_query *q, size_t max)
{
    cat_bind_int(q, max < INT_MAX ? (int64_t)max : INT_MAX);
}

void cat_bind_text(struct cat_query *q, const char *text)
{
    if (q->error >= 0)
        bound(q, sqlite3_bind_text(q->statement, ++q->bound, text, -1, SQLITE_STATIC));
}

void cat_bind_blob(struct cat_query *q, const void *data, size_t length)
{
    /* A NULL pointer would be bound as NULL, not as an empty blob. */
    if (q->error >= 0)
        bound(q, sqlite3_bind_blob64(q->statement, ++q->bound, length ? data : "", length, SQLITE_STATIC));
}

void cat_bind_zeros(struct cat_query *q, uint64_t length)
{
    if (q->error >= 0)
        bound(q, sqlite3_bind_zeroblob64(q->statement, ++q->bound, length));
}

int cat_step(struct cat_query *q)
{
    if (q->error < 0)
        return q->error;
    int code = sqlite3_step(q->statement);
    assert(code != SQLITE_MISUSE);
    q->error = cat_errno(q->db, code);
    if (q->error < 0)
        cat_note_error(q->catalogue, q->error);
    return q->error < 0 ? q->error : code == SQLITE_ROW;
}

int cat_run(struct cat_query *q)
{
    int r;
    do
        r = cat_step(q);
    while (r > 0);
    return r < 0 ? r : sqlite3_changes(q->db);
}

void cat_query_end(struct cat_query *q)
{
    if (!q->statement)
        return;
    sqlite3_reset(q->statement); /* repeats the error of the last step, which was reported */
    sqlite3_clear_bindings(q->statement);
    q->statement = NULL;
}

int64_t cat_int(struct cat_query *q, int column)
{
    return sqlite3_column_int64(q->statement, column);
}

uint64_t cat_unsigned(struct cat_query *q, int column)
{
    int64_t value = cat_int(q, column);
    return value > 0 ? (uint64_t)value : 0;
}

void cat_copy_text(char *to, size_t size, const char *from)
{
    size_t length = strnlen(from, size);
    if (length == size) {
        length--;
        for (int back = 0; back < 3 && length > 0 && ((unsigned char)from[length] & 0xc0) == 0x80; back++)
            length--;
    }
    memcpy(to, from, length);
    to[length] = '\0';
}

void cat_text(struct cat_query *q, int column, char *to, size_t size)
{
    const char *text = (const char *)sqlite3_column_text(q->statement, column);
    cat_copy_text(to, size, text ? text : "");
}

void cat_digest_text(const struct digest *digest, char text[CAT_DIGEST_TEXT])
{
    text[0] = '\0';
    if (digest && digest->algorithm != DIGEST_NONE)
        snprintf(text, CAT_DIGEST_TEXT, "%s:%s", digest_algorithm_name(digest->algorithm), digest->hex);
}

void cat_digest(struct cat_query *q, int column, struct digest *ret)
{
    ret->algorithm = DIGEST_NONE;
    ret->hex[0] = '\0';
    const char *text = (const char *)sqlite3_column_text(q->statement, column);
    const char *colon = text ? strchr(text, ':') : NULL;
    char name[16];
    if (!colon || (size_t)(colon - text) >= sizeof name)
        return;
    memcpy(name, text, (size_t)(colon - text));
    name[colon - text] = '\0';
    /* A value that does not parse is one not known: the backend will tell it again. */
    digest_set(digest_algorithm_by_name(name), colon + 1, strlen(colon + 1), ret);
}

int cat_run_int(struct cat_connection *k, const char *sql, int64_t id)
{
    CAT_QUERY q;
    cat_query_start(&q, k, sql);
    cat_bind_int(&q, id);
    return cat_run(&q);
}

int cat_run_int2(struct cat_connection *k, const char *sql, int64_t id, int64_t value)
{
    CAT_QUERY q;
    cat_query_start(&q, k, sql);
    cat_bind_int(&q, id);
    cat_bind_int(&q, value);
    return cat_run(&q);
}

int cat_run_name(struct cat_connection *k, const char *sql, const char *name)
{
    CAT_QUERY q;
    cat_query_start(&q, k, sql);
    cat_bind_text(&q, name);
    return cat_run(&q);
}
