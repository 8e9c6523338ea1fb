/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The catalogue: the only index of the cache. The only room that knows SQL.
 *
 * SQLite in WAL mode with synchronous=NORMAL: a commit survives a kill; after a power cut the newest commits may be
 * missing, never half there. The schema carries a version (PRAGMA user_version) and migrations; a newer one than we
 * know is refused with -EPROTONOSUPPORT and left alone.
 *
 * Row ids are AUTOINCREMENT, never reused; they are inode numbers, and places are directory cookies. At most one row per name is
 * live (known, partial or complete); retired rows keep the file of an evicted image that somebody still has open.
 *
 * Concurrency: every function may be called from any thread and may block on the disk; call none with a lock held.
 * Readers take a connection each from a small pool and never wait for a writer; writers take turns inside.
 * Every function returns 0 (or a count) or a negative errno; -EBADMSG says that the database is damaged, -ENOSPC that
 * the disk is full. Outputs are untouched on failure, but an array of rows may hold anything. Times are nanoseconds
 * since 1970; 0: never. -EINVAL: a name that is no valid image id, where one is to be written.
 */
#ifndef GCFS_CATALOGUE_H
#define GCFS_CATALOGUE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/meta.h"

struct catalogue;

struct image_row {
    int64_t row; /* > 0 */
    int64_t place; /* > 0; among the rows of a view: a row that took over another's name has that one's */
    char name[IMAGE_ID_MAX + 1];
    enum image_state state;
    struct image_meta meta;
    uint64_t bytes;        /* in the cache, as of the last checkpoint; = size when complete */
    uint64_t hits;
    int64_t created;       /* the version's own date, if one was known when the row was made; else when that was */
    int64_t last_accessed;
    int64_t last_modified; /* complete: when it became that; partial: last progress; known: means nothing */
    int64_t described;     /* when a backend last confirmed meta; 0: only a listing did */
    bool pinned;
    char error[IMAGE_ERROR_MAX + 1]; /* why the last fetch failed; "" */
    char tag[IMAGE_TAG_SIZE]; /* of its file; "": known, or a file without one */
};

/*
 * Opens or creates the database at PATH. -EBADMSG: damaged (not a database, a broken page found by quick_check, which
 * is run on files up to 64 MiB; tables missing): set it aside and call again. Blocks.
 */
int catalogue_open(const char *path, struct catalogue **ret);
/* The same without quick_check, which takes some ms a MiB: for one that was opened not long ago, by a process that may have died. */
int catalogue_reopen(const char *path, struct catalogue **ret);
/*
 * A catalogue in memory, with what can be read of the one at FROM (NULL: nothing; 1 is returned then if it could, else 0): for as long as
 * that cannot be used. Its new rows have numbers of their own. It ends with catalogue_close().
 */
int catalogue_open_memory(const char *from, struct catalogue **ret);
bool catalogue_is_memory(const struct catalogue *c);
/*
 * What a statement met while the catalogue is in use that the next one would meet, too (0: nothing). -EBADMSG: damage, it must be closed, set
 * aside and built anew; another error: its disk cannot be used. FD, an eventfd that stays the caller's, becomes readable then. Any thread.
 */
int catalogue_trouble(struct catalogue *c);
void catalogue_watch(struct catalogue *c, int fd);
/* Its disk is gone, with ERROR, though no statement met that yet: as if one had. Any thread. */
void catalogue_give_up(struct catalogue *c, int error);
/* Checkpoints the write-ahead log and closes. No other call may be under way. NULL is fine. */
void catalogue_close(struct catalogue *c);

/* ---- images: reading */

int catalogue_find(struct catalogue *c, const char *name, struct image_row *ret); /* the live row; -ENOENT */
int catalogue_get(struct catalogue *c, int64_t row, struct image_row *ret);       /* any state; -ENOENT */

/*
 * The live row whose name has the SHA-1 value HEX. -ENOENT. Names that are not indexed yet are before this answers. Blocks.
 */
int catalogue_find_hash(struct catalogue *c, const char *hex, struct image_row *ret);
/* Indexes the names of rows that came since this was asked last, until STOP (NULL: to the end). Some seconds for a million. */
int catalogue_hash_names(struct catalogue *c, const atomic_bool *stop);

enum catalogue_view {
    CATALOGUE_IMAGES,     /* live rows: those of the newest complete listing, partial and complete ones always;
                             all live rows while no listing was ever completed */
    CATALOGUE_CACHED,     /* complete */
    CATALOGUE_INCOMPLETE, /* partial */
    CATALOGUE_RETIRED,
};
/* Up to MAX rows with place > AFTER, ascending; of rows that replace each other between two calls one at most. Returns how many. */
int catalogue_page(struct catalogue *c, enum catalogue_view view, int64_t after, struct image_row *rows, size_t max);
/* Complete, unpinned rows with (last_accessed, row) > (ACCESSED, ROW), least recently used first. Returns how many. */
int catalogue_least_recent(struct catalogue *c, int64_t accessed, int64_t row, struct image_row *rows, size_t max);

struct catalogue_totals {
    uint64_t known, partial, complete, retired, queued, invalid; /* rows */
    uint64_t pinned; /* of those partial or complete */
    uint64_t complete_bytes, partial_bytes, retired_bytes, invalid_bytes, pinned_bytes;
};
/* From counters that every change keeps: no scan, whatever the number of rows. */
int catalogue_totals(struct catalogue *c, struct catalogue_totals *ret);

/* The chunk map of a partial row; free(*ret_bits). -ENOENT: none. */
int catalogue_load_map(struct catalogue *c, int64_t row, void **ret_bits, size_t *ret_length);

/* ---- images: writing */

/*
 * The backend described NAME: makes the live row (known), or adds to that of the same version what it did not know yet (a digest, …).
 * A known row of another version becomes a new row, since the kernel may still have pages of the old one; for a partial or complete row
 * it is -ESTALE, nothing changed (retire it first). A size of IMAGE_SIZE_UNKNOWN is -EINVAL. Sets `described` to NOW.
 */
int catalogue_learn(struct catalogue *c, const char *name, const struct image_meta *meta, int64_t now,
                    struct image_row *ret);
/* The version of a row that had none, as the first answer for its bytes told it. -ESTALE when the row is gone. */
int catalogue_describe(struct catalogue *c, int64_t row, const struct image_meta *meta, int64_t now);
/* known → partial, with an empty map, for a new file that is to get TAG; -ESTALE from any other state, or when the size is not known.
 * A file that gets none ("") must not be made before a power cut can take this no more: then this waits for the disk. */
int catalogue_begin(struct catalogue *c, int64_t row, const char *tag, int64_t now);
/* BITS (LENGTH bytes) and BYTES of a partial row, after its data was synced. -ESTALE when the row is not partial. */
int catalogue_checkpoint(struct catalogue *c, int64_t row, const void *bits, size_t length, uint64_t bytes,
                         int64_t now);
/* partial or known → complete; DIGEST (may be NULL) replaces the row's when not NONE; clears error, and the queue and
 * invalid entries of its name, in one transaction. last_accessed becomes NOW when it was earlier, so that an image
 * fetched ahead of its first reader is not the first to be evicted. -ESTALE from any other state, or without a size. */
int catalogue_complete(struct catalogue *c, int64_t row, const struct digest *digest, int64_t now);
/* The same for a file that was found, with its TAG: known → complete only, as somebody may be fetching it. */
int catalogue_adopt(struct catalogue *c, int64_t row, const char *tag, const struct digest *digest, int64_t now);
/*
 * live → retired, its map dropped, its bytes kept as they are. In the same transaction a new known row takes the name, with the old one's
 * listing mark: *ret_new (may be NULL) is its id. With SAME_VERSION it has the old one's meta, too; else its pin, and nothing is known of
 * it but that its version is a later one, so that it is looked up before it is shown. -ESTALE when not live. -ENOSPC: the caller may remove the file first, as a row without a file is known again at the next start.
 */
int catalogue_retire(struct catalogue *c, int64_t row, bool same_version, int64_t now, int64_t *ret_new);
/* The same, keeping known, if it is complete and not pinned: -ESTALE. */
int catalogue_evict(struct catalogue *c, int64_t row, int64_t now, int64_t *ret_new);
/* The file of the partial ROW goes, and what is shown of its name from now on may be of another version: a new known row takes the name, pinned
 * as the other, which is deleted. -ESTALE: the row has another file, or (UNPINNED) is pinned. */
int catalogue_replace_partial(struct catalogue *c, const struct image_row *row, bool unpinned, int64_t now);
int catalogue_forget(struct catalogue *c, int64_t row); /* deletes the row; fine when there is none */
/* → known, same row, no bytes: its file is gone. From known (fine), partial, or also complete when FROM is that; else -ESTALE. */
int catalogue_reset(struct catalogue *c, int64_t row, enum image_state from);
/* The same from the state that ROW says, while the row has the file that ROW is of (its tag) or none; else -ESTALE: another gave it one. */
int catalogue_reset_file(struct catalogue *c, const struct image_row *row);
/* The same from partial, unless it is pinned: -ESTALE. */
int catalogue_reset_unpinned(struct catalogue *c, int64_t row);
/* "" clears; cut to IMAGE_ERROR_MAX, between characters. -ENOENT. */
int catalogue_set_error(struct catalogue *c, int64_t row, const char *error);
int catalogue_set_pinned(struct catalogue *c, int64_t row, bool pinned);      /* -ENOENT */
int catalogue_set_digest(struct catalogue *c, int64_t row, const struct digest *digest); /* -ENOENT */
/* Takes over what another index knew of a complete row. -ENOENT. */
int catalogue_set_history(struct catalogue *c, int64_t row, uint64_t hits, int64_t last_accessed,
                          int64_t last_modified);

struct catalogue_touch { int64_t row; uint64_t hits; int64_t accessed; };
/*
 * The clock was set by STEP: last_accessed of complete rows follows, so that their ages stay what they were. Not of those from AFTER to NOW, who
 * have the new time. Reads all complete rows.
 */
int catalogue_shift_accessed(struct catalogue *c, int64_t step, int64_t after, int64_t now);
/* Rows that were read later than LATEST, a time still to come, as the clock was set back since: the newest is of NOW then, the others as much
 * older as they were. NOW <= LATEST: who is read from now on is newer. One search of an index where there are none. */
int catalogue_end_future(struct catalogue *c, int64_t now, int64_t latest);
/* Adds HITS and raises last_accessed of N rows in one transaction; rows that are gone are skipped. */
int catalogue_touch(struct catalogue *c, const struct catalogue_touch *touches, size_t n);

/* ---- the queue, oldest first */

struct queue_row {
    int64_t row;
    char name[IMAGE_ID_MAX + 1];
    int64_t queued;
    int64_t next_try; /* not before; 0: at once */
    uint64_t attempts; /* that failed */
    char error[IMAGE_ERROR_MAX + 1];
};
enum { CATALOGUE_QUEUE_MAX = 1000000 };
/* *RET is the old entry when there is one. -EDQUOT: CATALOGUE_QUEUE_MAX images are queued. */
int catalogue_queue_add(struct catalogue *c, const char *name, int64_t now, struct queue_row *ret);
int catalogue_queue_find(struct catalogue *c, const char *name, struct queue_row *ret); /* -ENOENT */
int catalogue_queue_get(struct catalogue *c, int64_t row, struct queue_row *ret);       /* -ENOENT */
int catalogue_queue_page(struct catalogue *c, int64_t after, struct queue_row *rows, size_t max); /* how many */
/*
 * Those whose time has come, up to MAX: what failed before first, in the order of its time, then by age. What was tried last at a time that
 * is still to come is due, too: the clock was set back since, and nothing can be said of its next_try.
 */
int catalogue_queue_due(struct catalogue *c, int64_t now, struct queue_row *rows, size_t max);
/* Counts the attempt. -ENOENT. */
int catalogue_queue_failed(struct catalogue *c, int64_t row, const char *error, int64_t now, int64_t next_try);
int catalogue_queue_remove(struct catalogue *c, const char *name); /* -ENOENT */

/* ---- what failed verification or failed for good */

struct invalid_row {
    int64_t row, place; /* as of an image_row */
    char name[IMAGE_ID_MAX + 1];
    int64_t when;
    uint64_t bytes; /* of the file kept in invalid/; 0: none */
    char reason[IMAGE_ERROR_MAX + 1];
};
enum { CATALOGUE_INVALID_MAX = 100000 };
/* Replaces an older one, in its place; a new row id. With CATALOGUE_INVALID_MAX of them, the oldest without a file goes. */
int catalogue_invalid_put(struct catalogue *c, const char *name, const char *reason, uint64_t bytes, int64_t now);
int catalogue_invalid_set_bytes(struct catalogue *c, const char *name, uint64_t bytes); /* -ENOENT */
int catalogue_invalid_find(struct catalogue *c, const char *name, struct invalid_row *ret); /* -ENOENT */
int catalogue_invalid_get(struct catalogue *c, int64_t row, struct invalid_row *ret);       /* -ENOENT */
int catalogue_invalid_page(struct catalogue *c, int64_t after, struct invalid_row *rows, size_t max); /* by place */
/* Like page, only those with bytes, and by row. */
int catalogue_invalid_files(struct catalogue *c, int64_t after, struct invalid_row *rows, size_t max);
int catalogue_invalid_remove(struct catalogue *c, const char *name); /* -ENOENT */

/* ---- the backend's listing */

/* A listing is begun, put in batches (one transaction each), and ended; only then do its rows replace the former ones
 * in CATALOGUE_IMAGES. Names must be valid ids. A new name of unknown size gets a row with IMAGE_SIZE_UNKNOWN. A known
 * row of another size becomes a new row, without etag, modified and digest; other rows keep what they have.
 * One listing at a time: beginning another gives up the one under way, whose put and end are -ESTALE from then on. */
int catalogue_listing_begin(struct catalogue *c, int64_t *ret_generation);
int catalogue_listing_put(struct catalogue *c, int64_t generation, const struct listed_image *images, size_t n,
                          int64_t now);
int catalogue_listing_end(struct catalogue *c, int64_t generation, int64_t now);
int64_t catalogue_listing_time(struct catalogue *c); /* when one was last ended; 0: never; negative errno */
/*
 * Known rows that neither of the two newest ended listings nor the one under way named, not pinned, made and described before the older of
 * these; none before two listings ended. With ANY, those that the newest and the one under way did not name, whatever their age. Up to MAX with
 * row > AFTER, ascending: how many. Reads all known rows at most.
 */
struct gone_row {
    int64_t row;
    char name[IMAGE_ID_MAX + 1];
};
int catalogue_gone_page(struct catalogue *c, bool any, int64_t after, int64_t now, struct gone_row *rows, size_t max);
/* Deletes those of ROWS that are known still, not pinned, queued or listed, in one transaction. How many. */
int catalogue_forget_gone(struct catalogue *c, const struct gone_row *rows, size_t n);
bool catalogue_is_listed(struct catalogue *c, const char *name); /* in the newest ended listing */

/* ---- digests published beside the images (SHA256SUMS) */

struct published_digest {
    char name[IMAGE_ID_MAX + 1];
    struct digest digest;
};
enum { CATALOGUE_DIGESTS_MAX = 1000000 }; /* of one source */
/*
 * The digests of SOURCE are begun anew, put in batches (one transaction each) and ended: what was not put is gone then. Nothing is written where nothing changed. One thread at a time for a source. -EFBIG: more than CATALOGUE_DIGESTS_MAX were put.
 */
struct digests_update;
int catalogue_digests_begin(struct catalogue *c, const char *source, struct digests_update **ret);
int catalogue_digests_put(struct digests_update *u, const struct published_digest *digests, size_t n);
int catalogue_digests_end(struct digests_update *u);
void catalogue_digests_free(struct digests_update *u); /* NULL is fine; ended or not */
int catalogue_digest_of(struct catalogue *c, const char *name, struct digest *ret); /* the strongest; -ENOENT */

/* ---- Glance's own index (cache.db of its sqlite driver), read only */

struct glance_index;
struct glance_row { uint64_t size, hits; int64_t last_accessed, last_modified; struct digest checksum; };
int glance_index_open(const char *path, struct glance_index **ret); /* -ENOENT; -EBADMSG */
int glance_index_find(struct glance_index *g, const char *name, struct glance_row *ret); /* -ENOENT */
void glance_index_close(struct glance_index *g);

/* ---- single values that must survive a restart ("glance_taken_over") */

int catalogue_note_get(struct catalogue *c, const char *key, int64_t *ret); /* -ENOENT */
int catalogue_note_set(struct catalogue *c, const char *key, int64_t value);

#endif
