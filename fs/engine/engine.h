/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: everything behind the view. It fetches what readers ask for, keeps it, verifies it, answers those who wait, works
 * off the queue, evicts, lists the backend, and keeps the catalogue and the store in step.
 *
 * Threads: "fetch" runs the loop of transfers and owns all fetch plans; "rows" changes rows and files for it; "hash" follows the
 * bytes with a digest; "sync" makes bytes durable and publishes images; "lister" asks for listings and published digests; "adopt"
 * looks at what lies in the cache directory at start, and ends. FUSE threads call the functions below; those that may answer
 * ENGINE_PARKED never wait for the network.
 *
 * Locks, in this order: a room's table (each room has one, and nobody holds two) → image.lock (one image) → leaves (ledger, arrivals, touches,
 * tasks, transfers' posts). No network, disk or callback under any of them.
 */
#ifndef GCFS_ENGINE_H
#define GCFS_ENGINE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalogue/catalogue.h"
#include "config/config.h"
#include "engine/images/teller.h"
#include "image/bootset.h"
#include "image/waiters.h"
#include "process/arrivals.h"
#include "process/ledger.h"
#include "store/file.h"
#include "store/store.h"

struct engine;
struct image;

/* What the engine works with. All of it outlives the engine, but the backend, which is the engine's from engine_start() on. */
struct backend;
struct backend_ops;
struct engine_parts {
    const struct config *config;
    const struct backend_ops *ops;
    struct backend *backend; /* from backend_open() */
    struct catalogue *catalogue;
    struct store *store;
    struct ledger *ledger;
    struct arrivals *arrivals; /* of this mount; what a worker before us left in it is taken over */
    const struct kernel_notify *notify;
};

/* -EAGAIN, -ENOMEM; the backend is closed then, too. */
int engine_start(const struct engine_parts *parts, struct engine **ret);
/*
 * Ends all threads in order; what was fetched is synced and in the catalogue when this returns. Parked waiters are woken with
 * -ECANCELED. No other call may be under way or come.
 */
void engine_stop(struct engine *e);

/* ---- looking up */

/*
 * The live row of NAME: 0 and *ret; -ENOENT (the backend said so); -EACCES; -EHOSTUNREACH (it could not be asked); or ENGINE_PARKED, and
 * after W's wake(status): engine_lookup_result() with that status.
 */
int engine_lookup(struct engine *e, const char *name, struct waiter *w, struct image_row *ret);
int engine_lookup_result(struct engine *e, const char *name, int status, struct image_row *ret);
bool engine_lookup_waits(struct engine *e, const char *name); /* does the backend still owe somebody the answer? */

/*
 * `revalidate`: must the backend be asked whether the cached image of ROW is still its own? 0: no. ENGINE_PARKED: then
 * engine_revalidate_result(): 0: go on (it is, or nobody could be asked); -ESTALE: it was evicted, look the name up again.
 */
bool engine_revalidates(struct engine *e);
int engine_revalidate(struct engine *e, int64_t row, struct waiter *w);
int engine_revalidate_result(struct engine *e, int64_t row, int status);

/* Is the listing fresh enough for `ls images/`? 0; or ENGINE_PARKED: woken when a listing ended (its status is for the log only). */
int engine_list(struct engine *e, struct waiter *w);
/* After the last entry of images/: 0, or why the listing may lack images that nobody ever saw: -EACCES (refused), -EHOSTUNREACH (no answer),
 * -EIO (an answer that is none), or what this machine lacks. */
int engine_list_status(struct engine *e);

/* ---- open images */

/*
 * The image of ROW, for a handle that the ledger holds already: in memory until engine_close(). -ESTALE: gone, evicted or replaced:
 * look the name up again; -EIO: it failed for good, and its row is about to be replaced. Blocks on the disk.
 */
int engine_open(struct engine *e, int64_t row, struct image **ret);
/* The image of ROW for one operation, when it is (or, after a restart, was) open; give it back by engine_put(). -ESTALE. */
int engine_get(struct engine *e, int64_t row, struct image **ret);
void engine_put(struct image *image);
/* The last handle of ROW in the ledger is gone. */
void engine_close(struct engine *e, int64_t row);

bool image_is_complete(struct image *image);
/* Nothing of it is here, or nobody has read any of it since that was so: what the kernel has of it may be of before. */
bool image_is_fresh(struct image *image);
const char *image_name(const struct image *image);
uint64_t image_size(struct image *image); /* bytes; 0: not known */

/*
 * Bytes [OFFSET, OFFSET+LENGTH) of the image, cut at its end. 0: they are in *ret_file at that place, *ret_length of them (0: beyond the
 * end); ENGINE_CACHED: likewise, and the image is complete. ENGINE_PARKED: after wake(0) ask again by engine_read_ready(). -EIO: they cannot be had, the reason
 * is in the image's error. Never blocks on the network.
 */
int engine_read(struct image *image, uint64_t offset, uint64_t length, struct waiter *w, struct image_file **ret_file, uint64_t *ret_length);
/* The file behind IMAGE for a woken reader. */
struct image_file *engine_read_ready(struct image *image);

/* W's reader does not want to wait any more: it is woken with -EINTR soon, if it still waits. Any thread, any lock. */
void engine_interrupt(struct engine *e, struct waiter *w);

/* ---- the cache */

/* rm cached/NAME. -ENOENT when it is not complete. Blocks on the disk. */
int engine_evict(struct engine *e, const char *name);
/* rm incomplete/NAME: stops the fetch, drops the bytes. -ENOENT; -EBUSY: it is becoming complete just now; ENGINE_PARKED until it is done. */
int engine_drop(struct engine *e, const char *name, struct waiter *w);
/* Either of them, for who knows one name only: 0 also when nothing of it is here. What is becoming complete just now is evicted when it is.
 * -ENOENT: it is not known. */
int engine_discard(struct engine *e, const char *name, struct waiter *w);
/* mv cached/NAME invalid/. -ENOENT when it is not complete. Blocks on the disk. */
int engine_quarantine(struct engine *e, const char *name, const char *reason);
/* rm invalid/NAME. -ENOENT. */
int engine_forget_invalid(struct engine *e, const char *name);

/*
 * touch queued/NAME. 0: queued, *ret filled; ENGINE_CACHED: nothing to do. -ENOENT; ENGINE_PARKED: ask again with the wake's status by
 * engine_queue_result(): a backend that cannot be reached does not keep a name from the queue, nor does one that takes long: the kernel has the
 * folder locked meanwhile.
 */
int engine_queue(struct engine *e, const char *name, struct waiter *w, struct queue_row *ret);
int engine_queue_result(struct engine *e, const char *name, int status, struct queue_row *ret);
int engine_unqueue(struct engine *e, const char *name); /* -ENOENT */

/* ---- images that are handed in: by who uploads them to the backend */

/* A file for the bytes of NAME. -EEXIST: there is one; -EDQUOT: there are too many; -EROFS, -EOPNOTSUPP: none can be kept. */
int engine_hand_begin(struct engine *e, const char *name, uint64_t *ret_number);
int engine_hand_find(struct engine *e, const char *name, uint64_t *ret_number); /* -ENOENT */
int engine_hand_size(struct engine *e, uint64_t number, uint64_t *ret_size);    /* bytes; -ENOENT */
/* The next bytes: -ESPIPE when OFFSET is not where it ends; -ENOSPC: the cache has no room; -ESTALE. Makes room, blocks on the disk. */
int engine_hand_write(struct engine *e, uint64_t number, const char *bytes, size_t size, uint64_t offset);
/* All of it is here: it is looked at on a thread of its own, and is in the cache when the backend says that it is right. -ENOENT. */
int engine_hand_over(struct engine *e, const char *name);
void engine_hand_end(struct engine *e, uint64_t number); /* closed: without having been handed over, it is gone */

/* ---- telling */

/* A row as of this moment: bytes and times of an image in memory, hits not written yet. */
void engine_refresh(struct engine *e, struct image_row *row);
/* A hit or miss of ROW: counted, its access time is now. */
void engine_count_open(struct engine *e, int64_t row, bool hit, uint64_t size);
void engine_touch(struct engine *e, int64_t row); /* read: its access time is now */
unsigned engine_handles(struct engine *e, int64_t row);
/* Which parts of a partial image are here: a hexadecimal digit for each of at most ENGINE_MAP_PARTS equal parts, 0 none of it to f all
 * of it. -ENODATA: not partial. */
enum { ENGINE_MAP_PARTS = 128 };
int engine_map(struct engine *e, int64_t row, char ret_text[ENGINE_MAP_PARTS + 1]);
/* Why images/NAME cannot be read ("": it can). */
void engine_error(struct engine *e, int64_t row, char error[IMAGE_ERROR_MAX + 1]);

struct engine_space { uint64_t limit, used; uint64_t images, partial; }; /* bytes; images whole, partly here */
int engine_space(struct engine *e, struct engine_space *ret);

/* ---- boot sets, by the name of their image. They block on the disk; -ENOENT: it has none */

int engine_bootset_stat(struct engine *e, const char *name, struct store_file *ret);
/* Its text, with a NUL: the length. -EBADMSG. */
int engine_bootset_text(struct engine *e, const char *name, char text[BOOTSET_TEXT_MAX + 1]);
int engine_bootset_put(struct engine *e, const char *name, const char *text, size_t length); /* -EINVAL: it is none; -EFBIG */
int engine_bootset_remove(struct engine *e, const char *name);
/* The live rows behind AFTER whose images have one, ascending: how many; free(*ret). */
int engine_bootset_page(struct engine *e, int64_t after, struct image_row **ret);

int64_t engine_mounted_at(struct engine *e); /* ns since 1970 */

/* The documents of .status and queued/NAME, for json_decref() by the caller. NULL: no memory. */
json_t *engine_status(struct engine *e);
json_t *engine_queue_status(struct engine *e, const struct queue_row *row);

#endif
