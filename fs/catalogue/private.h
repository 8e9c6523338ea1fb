/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the catalogue: connections, turns and prepared statements. Included by the catalogue's own files only.
 *
 * A connection belongs to one thread at a time: a reader's between cat_read_begin() and cat_read_end(), the writer's
 * between cat_write_begin() and cat_write_end(). A reader runs one statement, so that no read transaction outlives a
 * call and keeps the write-ahead log from being reset.
 */
#ifndef GCFS_CATALOGUE_PRIVATE_H
#define GCFS_CATALOGUE_PRIVATE_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "catalogue/catalogue.h"

enum {
    CAT_STATEMENTS = 80,      /* SQL texts a connection can keep prepared; asserted */
    CAT_READERS_MAX = 8,      /* open at a time; further readers wait for one of them */
    CAT_READERS_IDLE = 4,     /* kept open while nobody reads */
    CAT_CACHE_KIB = 2048,     /* page cache of one connection */
    CAT_BUSY_MS = 10000,      /* only another process, such as a person's sqlite3, makes us wait */
    CAT_LOG_PAGES = 2000,     /* of the write-ahead log: more are copied back into the database beside other work, */
    CAT_LOG_PAGES_MAX = 8000, /* and more than this while writers wait */
    CAT_PAGE = 4096,          /* bytes of a page */
    CAT_GROW = 1 << 20,       /* bytes; the database takes its blocks in steps of this */
    CAT_RESERVE_PAGES = 512,  /* of the log: their blocks are put by for when the disk is full */
};

/* The rows of the table of totals: one a state, and these. */
enum { CAT_TOTAL_QUEUE = 4, CAT_TOTAL_INVALID = 5, CAT_TOTAL_PINNED = 6, CAT_TOTALS = 7 };

/* Rows of a catalogue in memory are numbered from here on; no other ever has so many. */
#define CAT_MEMORY_ROWS (INT64_C(1) << 50)

struct cat_connection {
    sqlite3 *db;
    struct catalogue *catalogue;
    struct {
        const char *sql; /* compared by address: always a literal */
        sqlite3_stmt *statement;
    } cache[CAT_STATEMENTS];
    unsigned cached;
    struct cat_connection *next; /* protected by catalogue->lock */
};

struct catalogue {
    char *path;
    struct cat_connection *writer; /* used by whoever has the turn */
    int log_pages;                 /* of the write-ahead log after the last commit; as writer */
    pthread_mutex_t lock;          /* a leaf; never held over I/O */
    pthread_cond_t changed;        /* the turn or a reader became free */
    bool writing;                  /* somebody has the turn; protected by lock */
    bool checkpointing;            /* protected by lock */
    struct cat_connection *idle;   /* readers nobody uses; protected by lock */
    unsigned idle_count;           /* protected by lock */
    unsigned readers;              /* open, used or idle; protected by lock */
    bool memory;                   /* it is not on a disk: PATH is SQLite's name for it */
    atomic_int trouble;            /* see catalogue_trouble() */
    atomic_int trouble_fd;         /* an eventfd to tell of it; -1 */
};

/* ---- turns (catalogue.c) */

int cat_read_begin(struct catalogue *c, struct cat_connection **ret);
void cat_read_end(struct catalogue *c, struct cat_connection *k);
/* Waits for the turn and begins a transaction. */
int cat_write_begin(struct catalogue *c, struct cat_connection **ret);
/* RESULT ≥ 0: commits, and returns RESULT or why the commit failed. Negative: rolls back and returns it. */
int cat_write_end(struct catalogue *c, int result);
/* ERROR of a statement: is it one that another statement would have, too? Then it is told. Any thread. */
void cat_note_error(struct catalogue *c, int error);
void cat_note_trouble(struct catalogue *c, int error); /* the same, known to stay */
/* Until what was committed before is on the disk. */
int cat_sync(struct catalogue *c);

/* ---- statements (query.c) */

/* The one translation of SQLite's results; DB may be NULL. */
int cat_errno(sqlite3 *db, int code);

int cat_connection_open(struct catalogue *c, struct cat_connection **ret);
void cat_connection_close(struct cat_connection *k); /* NULL is fine */
int cat_execute(sqlite3 *db, const char *sql);       /* statements without parameters or rows, not kept */
int cat_pragma(sqlite3 *db, const char *sql, int64_t *ret);

/*
 * One run of a kept statement. An error sticks until cat_step() or cat_run() returns it, so that binding needs no
 * checks. Texts and blobs must stay until cat_query_end().
 */
struct cat_query {
    sqlite3 *db;
    struct catalogue *catalogue;
    sqlite3_stmt *statement;
    int bound;
    int error;
};
#define CAT_QUERY __attribute__((cleanup(cat_query_end))) struct cat_query

void cat_query_start(struct cat_query *q, struct cat_connection *k, const char *sql);
void cat_bind_int(struct cat_query *q, int64_t value);
void cat_bind_limit(struct cat_query *q, size_t max); /* results are counted in an int */
void cat_bind_text(struct cat_query *q, const char *text);
void cat_bind_blob(struct cat_query *q, const void *data, size_t length);
void cat_bind_zeros(struct cat_query *q, uint64_t length);
int cat_step(struct cat_query *q);        /* 1: a row; 0: no more; negative errno */
int cat_run(struct cat_query *q);         /* to the end: how many rows were changed; negative errno */
void cat_query_end(struct cat_query *q);  /* twice is fine */

int64_t cat_int(struct cat_query *q, int column);
uint64_t cat_unsigned(struct cat_query *q, int column);         /* 0 for what is negative */
void cat_text(struct cat_query *q, int column, char *to, size_t size); /* cut to SIZE */
void cat_digest(struct cat_query *q, int column, struct digest *ret);

/* The whole of a change that is one statement on one row: binds ID (and VALUE), runs it, ends. */
int cat_run_int(struct cat_connection *k, const char *sql, int64_t id);
int cat_run_int2(struct cat_connection *k, const char *sql, int64_t id, int64_t value);
int cat_run_name(struct cat_connection *k, const char *sql, const char *name);

/* Copies what fits, cut between two UTF-8 characters. */
void cat_copy_text(char *to, size_t size, const char *from);

/* A digest as the tables keep it: "sha256:<hex>"; "" for none. */
enum { CAT_DIGEST_TEXT = 8 + 1 + DIGEST_HEX_MAX + 1 };
void cat_digest_text(const struct digest *digest, char text[CAT_DIGEST_TEXT]);

/* ---- rows (changes.c), within the caller's transaction */

/* As catalogue_learn(). */
int cat_learn(struct cat_connection *k, const char *name, const struct image_meta *meta, int64_t now, struct image_row *ret);
/* A known row of NAME becomes a new one, for another version. */
int cat_renew(struct cat_connection *k, const char *name, int64_t now);

/* ---- schema (schema.c) */

/* Checks the database just opened, creates or migrates the tables, turns WAL on. PATH NULL: it is in memory. */
int cat_schema_prepare(sqlite3 *db, const char *path, bool check);

/* ---- the memory of the log's index (guard.c) */

void cat_guard(sqlite3 *db); /* of a database on a disk, just opened */
void cat_guard_end(void);    /* the last connection was closed */

/* ---- in memory (memory.c) */

/* TO, which is empty, gets what the database at PATH has; its log is not read. Nothing is written there. */
int cat_memory_copy(sqlite3 *to, const char *path);
/* New rows get numbers that no catalogue has yet. */
int cat_memory_number(sqlite3 *db);

#endif
