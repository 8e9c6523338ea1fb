/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: the little that must outlive a worker and is not worth a row. It lies in shared memory (a memfd) that the keeper
 * holds and each worker maps: the open handles, the counters since the mount, a copy of the kernel's INIT request.
 *
 * The shared part is only slots and counters, each change a single store, so that a worker killed at any point leaves it true.
 * What is derived (how many handles an image has) is counted anew by each worker when it opens the ledger.
 *
 * Any thread. The lock inside is a leaf.
 */
#ifndef GCFS_LEDGER_H
#define GCFS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ledger;

/* A new, empty memfd for a mount. -errno. */
int ledger_create(int *ret_fd);
/* Maps FD (which stays the caller's). -EBADMSG: not a ledger of this version. */
int ledger_open(int fd, struct ledger **ret);
void ledger_close(struct ledger *l); /* NULL is fine */

/* ---- open handles */

enum { LEDGER_USER_MAX = 1 << 16 }; /* a quarter of all there can be */
/* No user but root may have more than MOST handles; 0, as after ledger_open(): any number. Before others use L. */
void ledger_limit_users(struct ledger *l, unsigned most);
/*
 * USER opens the image of ROW; UNIQUE is the kernel's number of the request. RESENT: the kernel sends it again because a worker
 * died: when that worker had entered it already, the same handle is returned. An inode is open in caching mode or in passthrough mode,
 * never both: *ret_passthrough is the mode of those who have it open already, and PASSTHROUGH (what is wanted) for the first.
 * *ret_handle is the kernel's file handle. -ENFILE: too many; -EMFILE: of this user.
 */
int ledger_open_handle(struct ledger *l, int64_t row, uint32_t user, uint64_t unique, bool resent, bool passthrough,
                       uint64_t *ret_handle, bool *ret_passthrough);
/*
 * The answer to the OPEN of HANDLE is about to be written: from here on nothing but ledger_close_handle() closes it. Before, it goes
 * by ledger_drop_orphans() of a later worker when this one dies.
 */
void ledger_answering(struct ledger *l, uint64_t handle, int64_t row);
/*
 * All requests that workers before us left have come again: handles that those entered for an OPEN they did not answer, and that did not
 * come (who opened was killed meanwhile), are closed. UNUSED, called without the lock, hears each row of which none is left. Returns how many.
 */
unsigned ledger_drop_orphans(struct ledger *l, void (*unused)(void *context, int64_t row), void *context);
/* Returns how many handles of ROW are left. A handle closed already (a resent RELEASE) is fine. */
unsigned ledger_close_handle(struct ledger *l, uint64_t handle, int64_t row);
/* Is HANDLE of ROW open in caching mode? Also when it is not open. */
bool ledger_is_caching(struct ledger *l, uint64_t handle, int64_t row);
/* All handles of ROW are in caching mode now. Only while none of them was answered as passthrough. */
void ledger_turn_caching(struct ledger *l, int64_t row);
unsigned ledger_handles(struct ledger *l, int64_t row);
uint64_t ledger_all_handles(struct ledger *l);

/* ---- counters since the mount */

enum ledger_counter {
    COUNT_HITS,            /* opens of complete images */
    COUNT_MISSES,          /* opens of images not complete */
    COUNT_BYTES_FETCHED,   /* received from backends for images */
    COUNT_BYTES_READ,      /* answered to readers by the worker (passthrough reads are not seen) */
    COUNT_FETCHES_DONE,    /* images that became complete */
    COUNT_FETCHES_FAILED,
    COUNT_VERIFY_FAILED,
    COUNT_EVICTIONS,
    COUNT_BYTES_EVICTED,   /* the sizes of the images evicted */
    COUNT_BYTES_HIT,       /* the sizes of the complete images opened: what hits spared the backend, at most */
    COUNT_BACKEND_ERRORS,
    COUNT_WORKER_STARTS,
    COUNT_ANSWERS,         /* to requests of the kernel */
    COUNT_BOOTS,           /* that became part of a boot set */
    COUNT_REPLAYS,         /* boots of which something was asked for ahead by their set */
    COUNT_REPLAYED_READ,   /* bytes asked for that way, and read by that boot */
    COUNT_REPLAYED_UNREAD, /* and not */
    COUNT_REASONS,         /* failed requests to backends, by enum ledger_reason */
    COUNT_DURATIONS = COUNT_REASONS + 6, /* by enum ledger_duration, each LEDGER_CLASSES and a sum in microseconds */
    COUNT_END = COUNT_DURATIONS + 5 * 12,
};

/* Why a request to a backend failed. */
enum ledger_reason { REASON_UNREACHABLE, REASON_TIMEOUT, REASON_BROKEN, REASON_REFUSED, REASON_SERVER, REASON_NONSENSE, REASON_COUNT };
extern const char *const LEDGER_REASONS[REASON_COUNT]; /* as .status has them */

/* What is measured: a fetch from its start until the image is complete; until a backend's answer begins; until a read is answered, that
 * waited for the backend, that found its bytes here though the image is not complete, and of a complete image (passthrough is not seen). */
enum ledger_duration { DURATION_FETCH, DURATION_FIRST_BYTE, DURATION_READ_COLD, DURATION_READ_PREFETCHED, DURATION_READ_WARM, DURATION_COUNT };
enum { LEDGER_CLASSES = 11 };
/* The bounds of the classes, ascending; what is longer than the last counts in the last class. */
const double *ledger_bounds(enum ledger_duration duration);
/* It took so long: counts in one class, and in the sum. */
void ledger_measure(struct ledger *l, enum ledger_duration duration, int64_t ns);
uint64_t ledger_class(struct ledger *l, enum ledger_duration duration, unsigned class);
double ledger_sum(struct ledger *l, enum ledger_duration duration); /* seconds */

void ledger_count_failure(struct ledger *l, enum ledger_reason reason); /* counts in COUNT_BACKEND_ERRORS, too */
void ledger_count(struct ledger *l, enum ledger_counter counter, uint64_t n);
uint64_t ledger_counter(struct ledger *l, enum ledger_counter counter);
int64_t ledger_mounted_at(struct ledger *l); /* ns since 1970 */

/* ---- the first INIT request of the mount and the flags that were agreed (flags2 above flags), for workers that come later */

enum { LEDGER_INIT_MAX = 512 };
void ledger_put_init(struct ledger *l, const void *request, size_t length, uint64_t agreed); /* LENGTH ≤ LEDGER_INIT_MAX */
size_t ledger_get_init(struct ledger *l, void *request, size_t size, uint64_t *ret_agreed);  /* 0: none yet */

#endif
