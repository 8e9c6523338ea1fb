/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A catalogue in memory, for as long as the one on the disk cannot be used: the disk is full, read-only, gone. It begins with what can be
 * read of that one, without writing a byte beside it: of a copy with its log, or of the database alone, which may be some commits older. What a row says of a file is checked by the file's tag, as always. Its new rows have numbers that the other never had or will have:
 * the kernel knows inodes by them, before and after.
 *
 * No lock: it is made before anybody uses it.
 */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "catalogue/private.h"

enum { COPY_MAX = 128 << 20 }; /* bytes; more is not read into memory */

/* "file:PATH?immutable=1", so that SQLite neither locks nor writes. free() it. */
static char *immutable(const char *path)
{
    static const char hex[] = "0123456789ABCDEF";
    char *uri = malloc(strlen(path) * 3 + 32), *to = uri;
    if (!uri)
        return NULL;
    to += sprintf(to, "file:");
    for (const unsigned char *p = (const unsigned char *)path; *p; p++) {
        if (*p == '%' || *p == '?' || *p == '#') {
            *to++ = '%';
            *to++ = hex[*p >> 4];
            *to++ = hex[*p & 15];
        } else {
            *to++ = (char)*p;
        }
    }
    strcpy(to, "?immutable=1");
    return uri;
}

static unsigned char *serialize(const char *name, int flags, sqlite3_int64 *ret_size)
{
    sqlite3 *db = NULL;
    unsigned char *bytes = NULL;
    if (name && sqlite3_open_v2(name, &db, flags | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK)
        bytes = sqlite3_serialize(db, "main", ret_size, 0);
    sqlite3_close(db);
    return bytes;
}

/* PATH END → TO END, up to COPY_MAX bytes. */
static int copy_file(const char *path, const char *to, const char *end)
{
    char from_name[PATH_MAX + 8], to_name[PATH_MAX], buffer[65536];
    snprintf(from_name, sizeof from_name, "%s%s", path, end);
    snprintf(to_name, sizeof to_name, "%s%s", to, end);
    int in = open(from_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    int out = in < 0 ? -1 : open(to_name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    off_t at = 0;
    ssize_t n = out < 0 ? -1 : 1;
    while (n > 0 && at <= COPY_MAX) {
        n = pread(in, buffer, sizeof buffer, at);
        if (n > 0 && pwrite(out, buffer, (size_t)n, at) != n)
            n = -1;
        at += n > 0 ? n : 0;
    }
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return n == 0 ? 0 : -EIO;
}

/* With what is in its log only, by way of a copy in memory: no process writes to either file now. NULL. */
static unsigned char *read_with_log(const char *path, sqlite3_int64 *ret_size)
{
    static const char *const ends[] = { "", "-wal", "-shm", "-journal" };
    char folder[] = "/dev/shm/glance-cache-fs.XXXXXX", copy[sizeof folder + 16];
    unsigned char *bytes = NULL;
    if (!mkdtemp(folder))
        return NULL;
    snprintf(copy, sizeof copy, "%s/catalogue", folder);
    if (copy_file(path, copy, "") == 0 && copy_file(path, copy, "-wal") == 0)
        bytes = serialize(copy, SQLITE_OPEN_READWRITE, ret_size);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char name[sizeof copy + 16];
        snprintf(name, sizeof name, "%s%s", copy, ends[i]);
        unlink(name);
    }
    rmdir(folder);
    return bytes;
}

/* All of the database at PATH, in memory of SQLite's. NULL: it cannot be read, or is too large. */
static unsigned char *read_database(const char *path, sqlite3_int64 *ret_size)
{
    struct stat st;
    bool fits = stat(path, &st) == 0 && st.st_size <= COPY_MAX;
    unsigned char *bytes = fits ? read_with_log(path, ret_size) : NULL;
    if (fits && !bytes) {
        char *uri = immutable(path);
        bytes = serialize(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, ret_size);
        free(uri);
    }
    if (bytes && *ret_size > 100)
        bytes[18] = bytes[19] = 1; /* it has no log here */
    return bytes;
}

int cat_memory_copy(sqlite3 *to, const char *path)
{
    sqlite3_int64 size = 0;
    sqlite3 *from = NULL;
    unsigned char *bytes = read_database(path, &size);
    if (!bytes)
        return -EIO;
    int code = sqlite3_open_v2(":memory:", &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code == SQLITE_OK) /* takes BYTES, also when it fails */
        code = sqlite3_deserialize(from, "main", bytes, size, size, SQLITE_DESERIALIZE_FREEONCLOSE);
    else
        sqlite3_free(bytes);
    sqlite3_backup *copy = code == SQLITE_OK ? sqlite3_backup_init(to, "main", from, "main") : NULL;
    if (copy) {
        sqlite3_backup_step(copy, -1);
        code = sqlite3_backup_finish(copy);
    } else if (code == SQLITE_OK) {
        code = sqlite3_errcode(to);
    }
    sqlite3_close(from);
    return cat_errno(NULL, code);
}

int cat_memory_number(sqlite3 *db)
{
    char sql[512];
    /* Two catalogues in memory are made some seconds apart at least, and neither gets 65536 rows in one. */
    long long first = (long long)CAT_MEMORY_ROWS + ((long long)time(NULL) << 16);
    snprintf(sql, sizeof sql,
             "DELETE FROM sqlite_sequence WHERE name IN ('images', 'queue', 'invalid');"
             "INSERT INTO sqlite_sequence (name, seq) VALUES ('images', %lld), ('queue', %lld), ('invalid', %lld)", first, first, first);
    return cat_execute(db, sql);
}
