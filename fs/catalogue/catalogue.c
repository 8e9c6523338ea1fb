/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue's connections: opening, the pool of readers, the writers' turn; and the single values ("notes").
 *
 * One connection writes, for whoever has the turn. Readers take an idle connection or open another one, up to
 * CAT_READERS_MAX; in WAL mode they see the last commit and never wait for the writer. The lock covers the pool and the
 * turn only: nothing is read from or written to the disk while it is held.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "catalogue/private.h"

enum { FULL_PAUSE_MS = 50, FULL_TRIES = 20 };

/*
 * ---- a full disk
 *
 * What makes room (an eviction) and what does without it (passing an image through) must be committed, too, and then the disk may not
 * have a free block. So blocks are put by while there are some: for the log, which is kept within them while the disk is nearly full,
 * and for the database that it is copied back into.
 */

/* Best effort, as everything here: a disk that is full already has nothing to put by. */
static void reserve_blocks(struct catalogue *c)
{
    sqlite3_int64 size = CAT_GROW;
    sqlite3_file_control(c->writer->db, "main", SQLITE_FCNTL_SIZE_HINT, &size);

    char *path;
    if (asprintf(&path, "%s-wal", c->path) < 0)
        return;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC); /* SQLite's locks are on the other two files */
    free(path);
    if (fd < 0)
        return;
    if (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)CAT_RESERVE_PAGES * CAT_PAGE) < 0)
        errno = 0;
    close(fd);
}

static bool is_disk_full(const struct catalogue *c)
{
    struct statvfs st;
    return statvfs(c->path, &st) == 0 && (uint64_t)st.f_bavail * st.f_frsize < (uint64_t)CAT_LOG_PAGES_MAX * CAT_PAGE;
}

/* SQLite would make the file world-readable; its -wal and -shm take over the mode they find here. Only a new file is
 * opened here: closing a descriptor of one that is in use would drop SQLite's locks on it. */
static int make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0)
        return errno == EEXIST ? 0 : -errno;
    close(fd);
    return 0;
}

/* Somebody's chmod, or a folder in the place of a log: the one is taken back of what is ours, the other is damage. */
static int check_file(const char *path, const char *end)
{
    struct stat st;
    char *name;
    if (asprintf(&name, "%s%s", path, end) < 0)
        return -ENOMEM;
    bool there = lstat(name, &st) == 0;
    int r = there && S_ISDIR(st.st_mode) && end[0] ? -EBADMSG : 0;
    bool closed = there && S_ISREG(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0600) != 0600;
    if (closed && chmod(name, 0640) == 0)
        log_notice("%s: its mode, %03o, kept us out: it is 640 again", name, (unsigned)st.st_mode & 0777);
    free(name);
    return r;
}

static int check_files(const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    int r = 0;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0] && r == 0; i++)
        r = check_file(path, ends[i]);
    return r;
}

static int note_log_pages(void *context, sqlite3 *db, const char *name, int pages)
{
    (void)db;
    (void)name;
    struct catalogue *c = context;
    c->log_pages = pages;
    return SQLITE_OK;
}

static struct catalogue *new_catalogue(const char *path)
{
    struct catalogue *c = calloc(1, sizeof *c);
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->changed, NULL);
    atomic_init(&c->trouble_fd, -1);
    c->path = strdup(path);
    if (!c->path) {
        catalogue_close(c);
        return NULL;
    }
    return c;
}

/* FROM: what it begins with; NULL: nothing. */
static int open_memory(const char *from, struct catalogue **ret)
{
    static atomic_uint number;
    char name[64];
    snprintf(name, sizeof name, "/glance-cache-fs-%u", atomic_fetch_add(&number, 1));
    struct catalogue *c = new_catalogue(name);
    if (!c)
        return -ENOMEM;
    c->memory = true;
    int r = cat_connection_open(c, &c->writer);
    if (r >= 0 && from)
        r = cat_memory_copy(c->writer->db, from);
    if (r >= 0)
        r = cat_schema_prepare(c->writer->db, NULL, true);
    if (r >= 0)
        r = cat_memory_number(c->writer->db);
    if (r < 0) {
        catalogue_close(c);
        return r;
    }
    *ret = c;
    return 0;
}

int catalogue_open_memory(const char *from, struct catalogue **ret)
{
    int r = from ? open_memory(from, ret) : -ENOENT;
    return r < 0 ? open_memory(NULL, ret) : 1;
}

bool catalogue_is_memory(const struct catalogue *c)
{
    return c->memory;
}

static int run_plain(struct cat_connection *k, const char *sql)
{
    CAT_QUERY q;
    cat_query_start(&q, k, sql);
    return cat_step(&q);
}

/* The least there is to write. */
static int try_writing(struct cat_connection *k)
{
    int r = run_plain(k, "BEGIN IMMEDIATE");
    if (r < 0)
        return r;
    r = run_plain(k, "INSERT OR REPLACE INTO notes (key, value) VALUES ('tried', 1)");
    if (r >= 0)
        r = run_plain(k, "COMMIT");
    if (r < 0 && !sqlite3_get_autocommit(k->db))
        run_plain(k, "ROLLBACK");
    return r;
}

/* What others drop just now may be free in a moment. */
static bool stays_full(struct cat_connection *k)
{
    const struct timespec pause = { .tv_nsec = FULL_PAUSE_MS * 1000000L };
    int r = try_writing(k);
    for (int i = 0; i < FULL_TRIES && r == -ENOSPC; i++) {
        nanosleep(&pause, NULL);
        r = try_writing(k);
    }
    return r == -ENOSPC;
}

static int open_database(const char *path, bool check, struct catalogue **ret)
{
    int r = make_file(path);
    if (r == 0)
        r = check_files(path);
    if (r < 0)
        return r;

    struct catalogue *c = new_catalogue(path);
    if (!c)
        return -ENOMEM;
    r = cat_connection_open(c, &c->writer);
    if (r >= 0)
        r = cat_schema_prepare(c->writer->db, c->path, check);
    if (r >= 0) /* rather now than with the first request */
        r = try_writing(c->writer) == -ENOSPC ? -ENOSPC : r;
    if (r < 0) {
        catalogue_close(c);
        return r;
    }
    sqlite3_wal_hook(c->writer->db, note_log_pages, c);
    reserve_blocks(c);
    *ret = c;
    return 0;
}

int catalogue_open(const char *path, struct catalogue **ret)
{
    return open_database(path, true, ret);
}

int catalogue_reopen(const char *path, struct catalogue **ret)
{
    return open_database(path, false, ret);
}

void catalogue_close(struct catalogue *c)
{
    if (!c)
        return;
    assert(!c->writing && c->idle_count == c->readers);
    while (c->idle) {
        struct cat_connection *k = c->idle;
        c->idle = k->next;
        cat_connection_close(k);
    }
    /* Closing the last connection checkpoints the log and removes it; not where the disk does not take it, whose shared pages may end us. */
    if (c->writer != NULL && atomic_load(&c->trouble) != 0)
        sqlite3_db_config(c->writer->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
    cat_connection_close(c->writer);
    if (!c->memory)
        cat_guard_end();
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->path);
    free(c);
}

int cat_read_begin(struct catalogue *c, struct cat_connection **ret)
{
    pthread_mutex_lock(&c->lock);
    while (!c->idle && c->readers == CAT_READERS_MAX)
        pthread_cond_wait(&c->changed, &c->lock);
    struct cat_connection *k = c->idle;
    if (k) {
        c->idle = k->next;
        c->idle_count--;
    } else {
        c->readers++;
    }
    pthread_mutex_unlock(&c->lock);

    if (!k) {
        int r = cat_connection_open(c, &k);
        if (r >= 0)
            r = cat_execute(k->db, "PRAGMA query_only = 1");
        if (r < 0) {
            cat_note_error(c, r);
            cat_connection_close(k);
            pthread_mutex_lock(&c->lock);
            c->readers--;
            pthread_cond_broadcast(&c->changed);
            pthread_mutex_unlock(&c->lock);
            return r;
        }
    }
    *ret = k;
    return 0;
}

void cat_read_end(struct catalogue *c, struct cat_connection *k)
{
    pthread_mutex_lock(&c->lock);
    bool keep = c->idle_count < CAT_READERS_IDLE;
    if (keep) {
        k->next = c->idle;
        c->idle = k;
        c->idle_count++;
    } else {
        c->readers--;
    }
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
    if (!keep)
        cat_connection_close(k);
}

static void give_turn(struct catalogue *c)
{
    pthread_mutex_lock(&c->lock);
    assert(c->writing);
    c->writing = false;
    pthread_cond_broadcast(&c->changed);
    pthread_mutex_unlock(&c->lock);
}

int cat_write_begin(struct catalogue *c, struct cat_connection **ret)
{
    pthread_mutex_lock(&c->lock);
    while (c->writing)
        pthread_cond_wait(&c->changed, &c->lock);
    c->writing = true;
    pthread_mutex_unlock(&c->lock);

    int r = run_plain(c->writer, "BEGIN IMMEDIATE");
    if (r == -ENOSPC)
        cat_note_trouble(c, r);
    if (r < 0) {
        give_turn(c);
        return r;
    }
    *ret = c->writer;
    return 0;
}

int cat_sync(struct catalogue *c)
{
    char *path;
    if (c->memory)
        return 0;
    if (asprintf(&path, "%s-wal", c->path) < 0)
        return -ENOMEM;
    int fd = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC); /* SQLite's locks are on the other two files */
    free(path);
    int r = fd < 0 || fdatasync(fd) < 0 ? -errno : 0;
    if (fd >= 0)
        close(fd);
    return r;
}

/*
 * Copies the log back into the database, on a reader's connection and outside the turn: it waits for the disk, while
 * commits do not. Its result does not matter: what was not copied now is copied the next time.
 */
static void checkpoint_log(struct catalogue *c)
{
    pthread_mutex_lock(&c->lock);
    bool mine = !c->checkpointing;
    c->checkpointing = true;
    pthread_mutex_unlock(&c->lock);
    if (!mine)
        return;

    struct cat_connection *k;
    if (cat_read_begin(c, &k) >= 0) {
        sqlite3_wal_checkpoint_v2(k->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        cat_read_end(c, k);
    }
    pthread_mutex_lock(&c->lock);
    c->checkpointing = false;
    pthread_mutex_unlock(&c->lock);
}

int cat_write_end(struct catalogue *c, int result)
{
    int r = result;
    if (r == -EBADMSG)
        cat_note_error(c, r);
    if (r >= 0) {
        int committed = run_plain(c->writer, "COMMIT");
        if (committed < 0)
            r = committed;
    }
    /* Some errors make SQLite roll back by itself. */
    if (r < 0 && !sqlite3_get_autocommit(c->writer->db))
        run_plain(c->writer, "ROLLBACK");
    /* On a full disk, a log copied back into the database is overwritten from its start and needs no new blocks:
     * the next commit, which is to make room, finds place. */
    if (r == -ENOSPC) {
        sqlite3_wal_checkpoint_v2(c->writer->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
        if (stays_full(c->writer))
            cat_note_trouble(c, r);
    }
    /* Commits that never pause keep the log from ever being copied whole, and so from starting anew. */
    int pages = c->log_pages;
    if (pages > CAT_LOG_PAGES_MAX)
        sqlite3_wal_checkpoint_v2(c->writer->db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL);
    else if (r != -ENOSPC && pages > CAT_RESERVE_PAGES / 2 && is_disk_full(c))
        sqlite3_wal_checkpoint_v2(c->writer->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    c->log_pages = 0;
    give_turn(c);
    if (pages > CAT_LOG_PAGES && pages <= CAT_LOG_PAGES_MAX)
        checkpoint_log(c);
    return r;
}

int catalogue_note_get(struct catalogue *c, const char *key, int64_t *ret)
{
    struct cat_connection *k;
    int r = cat_read_begin(c, &k);
    if (r < 0)
        return r;

    struct cat_query q;
    cat_query_start(&q, k, "SELECT value FROM notes WHERE key = ?1");
    cat_bind_text(&q, key);
    r = cat_step(&q);
    int64_t value = r > 0 ? cat_int(&q, 0) : 0;
    cat_query_end(&q);
    cat_read_end(c, k);
    if (r <= 0)
        return r < 0 ? r : -ENOENT;
    *ret = value;
    return 0;
}

int catalogue_note_set(struct catalogue *c, const char *key, int64_t value)
{
    struct cat_connection *k;
    int r = cat_write_begin(c, &k);
    if (r < 0)
        return r;

    struct cat_query q;
    cat_query_start(&q, k, "INSERT OR REPLACE INTO notes (key, value) VALUES (?1, ?2)");
    cat_bind_text(&q, key);
    cat_bind_int(&q, value);
    r = cat_run(&q);
    cat_query_end(&q);
    r = cat_write_end(c, r);
    return r < 0 ? r : 0;
}
