/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's tables: their text, their versions, and what is checked before a database is used.
 *
 * The format is known by application_id, its version by user_version. A migration takes the database from version N to
 * N + 1; it is never changed once released, a new one is added. Each runs in a transaction together with the change of
 * user_version, so that a kill leaves one version or the other.
 *
 * images.state is enum image_state. A size of -1 is IMAGE_SIZE_UNKNOWN. Digests are texts, "sha256:<hex>".
 *
 * What keeps 1,000,000 known rows cheap: the indexes that pages, totals and eviction use hold no known row, and
 * `totals` is kept by triggers: a row for each state, one for the queue (4), one for what is invalid (5) and one for what
 * is pinned (6). A trigger also sees to it that only partial rows have a map.
 *
 * `place` is where a row stands in a folder: its id, or, of a row that took the name over from another, that one's place. So whoever lists a
 * folder while rows are replaced meets each name once. A retired row gives its place up for its id.
 *
 * A listing is marked in one of two columns in turn: a generation is even (listed0) or odd (listed1), and a new one
 * takes the column that the newest ended one does not use. So a listing under way, or one given up, hides nothing of
 * the ended one, and ending it is one small write.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "catalogue/private.h"

_Static_assert(IMAGE_KNOWN == 0 && IMAGE_PARTIAL == 1 && IMAGE_COMPLETE == 2 && IMAGE_RETIRED == 3, "on disk");

enum {
    APPLICATION_ID = 0x67636673, /* "gcfs" */
    QUICK_CHECK_MAX = 64 << 20,  /* bytes; a larger file is not read through before the mount stands */
};

static const char *const migrations[] = {
    /* 0 → 1 */
    "CREATE TABLE images ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL,"
    " state INTEGER NOT NULL CHECK (state BETWEEN 0 AND 3),"
    " size INTEGER NOT NULL DEFAULT -1,"
    " bytes INTEGER NOT NULL DEFAULT 0,"
    " hits INTEGER NOT NULL DEFAULT 0,"
    " created INTEGER NOT NULL DEFAULT 0,"
    " last_accessed INTEGER NOT NULL DEFAULT 0,"
    " last_modified INTEGER NOT NULL DEFAULT 0,"
    " described INTEGER NOT NULL DEFAULT 0,"
    " pinned INTEGER NOT NULL DEFAULT 0,"
    " listed0 INTEGER NOT NULL DEFAULT 0,"
    " listed1 INTEGER NOT NULL DEFAULT 0,"
    " endpoint INTEGER NOT NULL DEFAULT 0,"
    " etag TEXT NOT NULL DEFAULT '',"
    " modified TEXT NOT NULL DEFAULT '',"
    " digest TEXT NOT NULL DEFAULT '',"
    " title TEXT NOT NULL DEFAULT '',"
    " disk_format TEXT NOT NULL DEFAULT '',"
    " error TEXT NOT NULL DEFAULT '');"
    "CREATE UNIQUE INDEX images_live ON images (name) WHERE state < 3;"
    "CREATE INDEX images_here ON images (state) WHERE state > 0;"
    "CREATE INDEX images_lru ON images (last_accessed) WHERE state = 2 AND pinned = 0;"
    "CREATE TABLE maps (id INTEGER PRIMARY KEY, bits BLOB NOT NULL);"
    "CREATE TABLE totals (state INTEGER PRIMARY KEY, images INTEGER NOT NULL, bytes INTEGER NOT NULL);"
    "INSERT INTO totals VALUES (0, 0, 0), (1, 0, 0), (2, 0, 0), (3, 0, 0);"
    "CREATE TRIGGER images_insert AFTER INSERT ON images BEGIN"
    " UPDATE totals SET images = images + 1, bytes = bytes + NEW.bytes WHERE state = NEW.state;"
    "END;"
    "CREATE TRIGGER images_update AFTER UPDATE OF state, bytes ON images BEGIN"
    " UPDATE totals SET images = images - 1, bytes = bytes - OLD.bytes WHERE state = OLD.state;"
    " UPDATE totals SET images = images + 1, bytes = bytes + NEW.bytes WHERE state = NEW.state;"
    " DELETE FROM maps WHERE id = NEW.id AND NEW.state <> 1;"
    "END;"
    "CREATE TRIGGER images_delete AFTER DELETE ON images BEGIN"
    " UPDATE totals SET images = images - 1, bytes = bytes - OLD.bytes WHERE state = OLD.state;"
    " DELETE FROM maps WHERE id = OLD.id;"
    "END;"
    "CREATE TABLE queue ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " queued INTEGER NOT NULL,"
    " next_try INTEGER NOT NULL DEFAULT 0,"
    " attempts INTEGER NOT NULL DEFAULT 0,"
    " error TEXT NOT NULL DEFAULT '');"
    "CREATE INDEX queue_next_try ON queue (next_try);"
    "CREATE TABLE invalid ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " name TEXT NOT NULL UNIQUE,"
    " since INTEGER NOT NULL,"
    " bytes INTEGER NOT NULL,"
    " reason TEXT NOT NULL);"
    "CREATE TABLE listing (begun INTEGER NOT NULL, ended INTEGER NOT NULL, ended_at INTEGER NOT NULL);"
    "INSERT INTO listing VALUES (0, 0, 0);"
    "CREATE TABLE digests ("
    " name TEXT NOT NULL, source TEXT NOT NULL, algorithm TEXT NOT NULL, digest TEXT NOT NULL,"
    " generation INTEGER NOT NULL, PRIMARY KEY (name, source, algorithm)) WITHOUT ROWID;"
    "CREATE TABLE digest_sources (source TEXT PRIMARY KEY, generation INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE notes (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
    /* 1 → 2: which file a row is of */
    "ALTER TABLE images ADD COLUMN tag TEXT NOT NULL DEFAULT '';",
    /* 2 → 3: nothing that is asked often counts rows. What waits in the queue is tried at once, and digests are read anew. */
    "INSERT INTO totals SELECT 4, count(*), 0 FROM queue;"
    "INSERT INTO totals SELECT 5, count(*), coalesce(sum(bytes), 0) FROM invalid;"
    "CREATE TRIGGER queue_insert AFTER INSERT ON queue BEGIN"
    " UPDATE totals SET images = images + 1 WHERE state = 4;"
    "END;"
    "CREATE TRIGGER queue_delete AFTER DELETE ON queue BEGIN"
    " UPDATE totals SET images = images - 1 WHERE state = 4;"
    "END;"
    "CREATE TRIGGER invalid_insert AFTER INSERT ON invalid BEGIN"
    " UPDATE totals SET images = images + 1, bytes = bytes + NEW.bytes WHERE state = 5;"
    "END;"
    "CREATE TRIGGER invalid_update AFTER UPDATE OF bytes ON invalid BEGIN"
    " UPDATE totals SET bytes = bytes - OLD.bytes + NEW.bytes WHERE state = 5;"
    "END;"
    "CREATE TRIGGER invalid_delete AFTER DELETE ON invalid BEGIN"
    " UPDATE totals SET images = images - 1, bytes = bytes - OLD.bytes WHERE state = 5;"
    "END;"
    "CREATE INDEX invalid_kept ON invalid (bytes > 0);"
    "ALTER TABLE queue ADD COLUMN tried INTEGER NOT NULL DEFAULT 0;"
    "UPDATE queue SET next_try = 0 WHERE next_try <> 0;"
    "CREATE INDEX queue_tried ON queue (tried);"
    "ALTER TABLE listing ADD COLUMN former INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE listing ADD COLUMN former_at INTEGER NOT NULL DEFAULT 0;"
    "DROP TABLE digests;"
    "DROP TABLE digest_sources;"
    "CREATE TABLE digests ("
    " source TEXT NOT NULL, name TEXT NOT NULL, algorithm INTEGER NOT NULL, digest TEXT NOT NULL,"
    " PRIMARY KEY (source, name, algorithm)) WITHOUT ROWID;"
    "CREATE TABLE digest_sources (source TEXT PRIMARY KEY, digests INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TRIGGER digests_insert AFTER INSERT ON digests BEGIN"
    " UPDATE digest_sources SET digests = digests + 1 WHERE source = NEW.source;"
    "END;"
    "CREATE TRIGGER digests_delete AFTER DELETE ON digests BEGIN"
    " UPDATE digest_sources SET digests = digests - 1 WHERE source = OLD.source;"
    "END;",
    /* 3 → 4: where a row stands among others. Computed, so that a million rows are not written. */
    "ALTER TABLE images ADD COLUMN heir_of INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE images ADD COLUMN place INTEGER AS (CASE heir_of WHEN 0 THEN id ELSE heir_of END) VIRTUAL;"
    "CREATE INDEX images_place ON images (place) WHERE state < 3;"
    "DROP INDEX images_here;"
    "CREATE INDEX images_here ON images (state, place) WHERE state > 0;"
    "ALTER TABLE invalid ADD COLUMN heir_of INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE invalid ADD COLUMN place INTEGER AS (CASE heir_of WHEN 0 THEN id ELSE heir_of END) VIRTUAL;"
    "CREATE INDEX invalid_place ON invalid (place);",
    /* 4 → 5: what is pinned of what is here, in (6) of the totals */
    "INSERT INTO totals SELECT 6, count(*), coalesce(sum(bytes), 0) FROM images WHERE state IN (1, 2) AND pinned <> 0;"
    "CREATE TRIGGER pinned_insert AFTER INSERT ON images WHEN NEW.pinned AND NEW.state IN (1, 2) BEGIN"
    " UPDATE totals SET images = images + 1, bytes = bytes + NEW.bytes WHERE state = 6;"
    "END;"
    "CREATE TRIGGER pinned_update AFTER UPDATE OF state, bytes, pinned ON images WHEN OLD.pinned OR NEW.pinned BEGIN"
    " UPDATE totals SET images = images - 1, bytes = bytes - OLD.bytes WHERE state = 6 AND OLD.pinned AND OLD.state IN (1, 2);"
    " UPDATE totals SET images = images + 1, bytes = bytes + NEW.bytes WHERE state = 6 AND NEW.pinned AND NEW.state IN (1, 2);"
    "END;"
    "CREATE TRIGGER pinned_delete AFTER DELETE ON images WHEN OLD.pinned AND OLD.state IN (1, 2) BEGIN"
    " UPDATE totals SET images = images - 1, bytes = bytes - OLD.bytes WHERE state = 6;"
    "END;",
    /* 5 → 6: names by their hash, for who knows an image by that only; NULL until somebody asks (hashes.c) */
    ("ALTER TABLE images ADD COLUMN hash INTEGER;"
     "CREATE INDEX images_hash ON images (hash) WHERE hash IS NOT NULL;"),
    /* 6 → 7: the bytes that a machine sees of an image; 0: not known */
    "ALTER TABLE images ADD COLUMN virtual_size INTEGER NOT NULL DEFAULT 0;",
};
enum { SCHEMA_VERSION = sizeof migrations / sizeof migrations[0] };

/* Everything the newest version has: a database that lost one of these is damaged. */
static const char count_objects[] =
    "SELECT count(*) FROM sqlite_schema WHERE name IN ('images', 'images_live', 'images_here', 'images_lru', 'maps',"
    " 'totals', 'images_insert', 'images_update', 'images_delete', 'queue', 'queue_next_try', 'invalid', 'listing',"
    " 'digests', 'digest_sources', 'notes', 'queue_insert', 'queue_delete', 'invalid_insert', 'invalid_update',"
    " 'invalid_delete', 'invalid_kept', 'queue_tried', 'digests_insert', 'digests_delete', 'images_place', 'invalid_place',"
    " 'pinned_insert', 'pinned_update', 'pinned_delete', 'images_hash')";
enum { OBJECTS = 31 };

static int migrate(sqlite3 *db, int64_t from)
{
    for (int64_t version = from; version < SCHEMA_VERSION; version++) {
        char sql[128];
        int r = cat_execute(db, "BEGIN IMMEDIATE");
        if (r >= 0)
            r = cat_execute(db, migrations[version]);
        snprintf(sql, sizeof sql, "PRAGMA application_id = %d; PRAGMA user_version = %d; COMMIT", APPLICATION_ID,
                 (int)version + 1);
        if (r >= 0)
            r = cat_execute(db, sql);
        if (r < 0) {
            if (!sqlite3_get_autocommit(db))
                cat_execute(db, "ROLLBACK");
            return r;
        }
    }
    return 0;
}

/* OTHERWISE is what to return when SQL does not answer with the text EXPECTED. */
static int expect_text(sqlite3 *db, const char *sql, const char *expected, int otherwise)
{
    sqlite3_stmt *statement;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code != SQLITE_OK)
        return cat_errno(db, code);
    code = sqlite3_step(statement);
    int r = cat_errno(db, code);
    if (code == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        r = text && !strcmp(text, expected) ? 0 : otherwise;
    } else if (r == 0) {
        r = otherwise;
    }
    sqlite3_finalize(statement);
    return r;
}

static int expect_count(sqlite3 *db, const char *sql, int64_t expected)
{
    int64_t count;
    int r = cat_pragma(db, sql, &count);
    if (r < 0)
        return r;
    return count == expected ? 0 : -EBADMSG;
}

/* Is this ours, and of which version? 0: nothing in it yet. */
static int identify(sqlite3 *db, int64_t *ret_version)
{
    int64_t application, version, objects;
    int r = cat_pragma(db, "PRAGMA application_id", &application);
    if (r >= 0)
        r = cat_pragma(db, "PRAGMA user_version", &version);
    if (r >= 0)
        r = cat_pragma(db, "SELECT count(*) FROM sqlite_schema", &objects);
    if (r < 0)
        return r;
    bool empty = application == 0 && version == 0 && objects == 0;
    if (!empty && (application != APPLICATION_ID || version <= 0))
        return -EBADMSG;
    if (version > SCHEMA_VERSION)
        return -EPROTONOSUPPORT;
    *ret_version = version;
    return 0;
}

int cat_schema_prepare(sqlite3 *db, const char *path, bool check)
{
    int64_t version;
    int r = identify(db, &version);
    if (r < 0)
        return r;

    struct stat st;
    if (path && stat(path, &st) < 0)
        return -errno;
    if (check && version > 0 && (!path || st.st_size <= QUICK_CHECK_MAX)) {
        r = expect_text(db, "PRAGMA quick_check(1)", "ok", -EBADMSG);
        if (r < 0)
            return r;
    }
    /* Stays off where the file system cannot share memory between connections. */
    r = path ? expect_text(db, "PRAGMA journal_mode = WAL", "wal", -EOPNOTSUPP) : cat_execute(db, "PRAGMA journal_mode = MEMORY");
    if (r >= 0)
        r = migrate(db, version);
    if (r >= 0)
        r = expect_count(db, count_objects, OBJECTS);
    if (r >= 0)
        r = expect_count(db, "SELECT count(*) FROM totals", CAT_TOTALS);
    if (r >= 0)
        r = expect_count(db, "SELECT count(*) FROM listing", 1);
    return r;
}
