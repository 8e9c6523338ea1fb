/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An image in memory: what is here of it, who waits for it, who works on it. Values only: nothing here waits, opens, asks or calls anybody.
 * image->lock is held around all of it, by the caller.
 */
#ifndef GCFS_IMAGE_IMAGE_H
#define GCFS_IMAGE_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uthash.h>

#include "image/chunkmap.h"
#include "image/cursors.h"
#include "image/digest.h"
#include "image/id.h"
#include "image/meta.h"
#include "image/span.h"
#include "image/waiters.h"

struct engine;
struct image_file;
struct track;
struct lanes;
struct boot;
struct transfer_timer;

enum { HOLD_SLACK = 16 << 20 };

/* The tail of an image is being dropped from the kernel's cache. */
struct hiding {
    struct engine *engine;
    int64_t row;
};

/* Bytes of an image that a request was made for: nobody asks for them again. */
struct claim {
    TAILQ_ENTRY(claim) link;
    uint64_t start, pos, end; /* claimed [start, end), here [start, pos) */
    atomic_bool connected;    /* it has a connection; for who counts them */
};
TAILQ_HEAD(claims, claim);

/* A retired row of which nothing is in memory any more. */
struct grave {
    SLIST_ENTRY(grave) link;
    int64_t row;
};
SLIST_HEAD(graves, grave);

/* Who works on the file of an image, or on its row; one at a time. */
enum image_hands {
    HANDS_NONE,
    HANDS_BEGIN,   /* the rows thread makes its file */
    HANDS_DROP,    /* the rows thread drops its bytes */
    HANDS_FINISH,  /* the hash thread verifies it, the sync thread publishes it */
    HANDS_REPLACE, /* it is dead: the rows thread gives its name another row */
};

/*
 * An image somebody has open or that is being fetched.
 *
 *   known ──begin──> partial ──all chunks here──> finishing ──verified, published──> complete ──evict──> retired
 *     ^                 │                             │
 *     └──rm incomplete/─┘      mismatch, or changed at the backend: dead (a new row takes the name)
 */
struct image {
    struct engine *engine;
    int64_t row;
    char name[IMAGE_ID_MAX + 1];

    /* the table's, and protected by its lock: */
    UT_hash_handle hh;
    atomic_uint refs;  /* goes up by who has one, or under that lock; down to 0 only under it */
    struct grave *grave; /* for what images_take_unused() tells */
    bool opened;       /* holds one reference for all handles in the ledger */

    /* the published digests', and protected by their lock: */
    UT_hash_handle wish; /* by name, while wished */
    bool wished;         /* it waits for its line */

    pthread_mutex_t lock;
    /* protected by lock: */
    enum image_state state;
    struct image_meta meta;
    int64_t described;
    struct image_file *file; /* NULL while known */
    struct chunkmap *map;    /* NULL unless partial */
    struct track *track;     /* the same for the next worker; NULL: it has only the catalogue's */
    int dead;                /* negative errno that every read gets */
    enum { DEATH_CHANGED, DEATH_ROTTEN } death;
    bool again;              /* it is to be fetched once more, from the start */
    int failure;             /* negative errno: given up for now, for `error`, which was told by some thread; 0: not */
    struct waiter *dropper;  /* who wants its bytes dropped; NULL */
    bool drop_any;           /* he does not mind what is in the way of that: what is becoming complete is evicted when it is */
    bool unwanted;           /* that is to come */
    struct claims claims;    /* written by the fetch thread only */
    struct waiters waiters;  /* reads */
    uint64_t parked;         /* reads that ever were among them */
    struct cursors cursors;
    struct chunkmap *ahead;  /* asked for ahead, and not read yet; NULL: nothing, see ahead.h */
    uint64_t worth;          /* bytes that read-ahead may bring at no cost; 0: not known, see fetch/reach.h */
    uint64_t reach;          /* bytes that come in the time of an answer; 0: not known, see fetch/reach.h */
    struct boot *boot;       /* it is recorded and replayed; NULL: it is not */
    uint64_t rate;           /* bytes a second of one connection, smoothed; 0: not known yet */
    int64_t wait;            /* ns to a first byte, smoothed */
    uint64_t asked;          /* bytes readers asked for that were not here at once, or before the image was whole */
    bool whole;              /* all of it is wanted, by those who read */
    struct waiters wholes;   /* who want all of it: prefetches */
    bool digest_settled;     /* meta.digest is what there is; until then the tail is held back */
    enum image_hands hands;
    bool verified;
    int64_t unfinished_at;   /* monotonic: it could not be published; 0: that was not tried */
    bool disk_failed;        /* some of its bytes could not be written: its file is not believed any more */
    bool row_retired;        /* its row is: whoever puts it last removes what is left */
    struct hiding *hiding;   /* of what was shown of the tail; NULL: none. See image_hide_tail_locked() */
    struct chunkmap *given;  /* while hiding: what readers may have; NULL: nothing more */
    bool tail_shown;         /* the last chunk was given out unverified, maybe by a worker before; see image_held_locked() */
    bool digest_asked;       /* the lister settles it */
    bool dirty;              /* chunks arrived since the last checkpoint; holds a reference, which the checkpoint gives back */
    bool attending;          /* a visit of the fetch thread is on its way */
    uint64_t hashed;         /* bytes the digest has seen */
    bool hashing;            /* the hash thread has it on its list */
    int64_t last_progress;   /* wall clock */
    uint64_t fetched;        /* bytes received since it is in memory */
    uint64_t written;        /* bytes here, as the catalogue has it */
    int64_t unwritten;       /* its part of engine->unwritten, see account.h */
    bool through;            /* not kept: see through.c. Changed on the fetch thread only */
    int64_t fetch_began;     /* monotonic; 0: not fetching */
    char error[IMAGE_ERROR_MAX + 1];

    /* the fetch thread's: */
    TAILQ_ENTRY(image) active_link;
    bool active;    /* on the list of fetch, which holds a reference */
    uint64_t outlook; /* when nothing was to be asked for those who wait, see choose_demand(); 0: not known */
    bool wants_room; /* nothing of it is asked for until the rows thread has evicted */
    int64_t through_since; /* monotonic */
    bool no_range;  /* it is asked for without ranges, see whole.c */
    enum { PARTS_UNKNOWN, PARTS_WORK, PARTS_DOUBTED, PARTS_NONE, PARTS_BLAMELESS } parts;
    bool version_known; /* meta has what the backend tells of its version, if it tells any; see version.c for all of these */
    bool version_told;  /* it is not on its way to the catalogue yet */
    bool unproven;      /* answers do not say that they are of it: one stream, compared with what is here */
    bool shown_elsewhere; /* of its bytes that are not in its file any more, some may have been shown */
    uint64_t shown;       /* no byte behind it ever was */
    bool stranger;        /* an endpoint may have another version, since the last progress */
    struct digest told;   /* by the header of an answer */
    unsigned fails; /* in a row without progress */
    uint64_t failed_at; /* fetched, at the last of them */
    unsigned tried; /* endpoints asked since the last progress, a bit each */
    struct transfer_timer *retry;
    int64_t retry_least; /* monotonic; not before then, also when the backend turns out to be well again */
    struct lanes *lanes; /* of the fetch of all of it, see fetch/lanes.c; NULL: that was not begun */

    struct digest_stream *digest; /* the hash thread's */
};
/*
 * What a transition leaves to be done once the lock is given back, by image_unlock_and() in engine/images/effects.c, in this order: no callback is
 * made, no file closed and nobody woken under the lock.
 */
struct effects {
    int64_t unwritten, reserved; /* into the account of all images */
    struct track *track;         /* these are the image's no longer */
    struct image_file *file;
    struct chunkmap *map;
    struct hiding *hide;         /* the kernel is to drop these pages; at most one in an image's time */
    struct span hidden;
    struct waiters woken;        /* each with its status */
};
#define EFFECTS(name) struct effects name = {.woken = TAILQ_HEAD_INITIALIZER(name.woken)}

static inline void image_lock(struct image *image)
{
    pthread_mutex_lock(&image->lock);
}

void image_unlock(struct image *image); /* asserts first that the state is one that can be: image_check_locked() */
void image_check_locked(const struct image *image);

/* Enters CLAIM: its bytes are within the image, and nobody else's. */
void image_claim_locked(struct image *image, struct claim *claim);

/* Are the bytes [OFFSET, OFFSET+LENGTH) here? */
bool image_available_locked(const struct image *image, uint64_t offset, uint64_t length);
/* Is all of it here, to be verified and published? One that could not be published is left alone a while, unless somebody waits for it. */
bool image_may_finish_locked(const struct image *image);
bool image_wants_all_locked(const struct image *image); /* somebody wants all of it */
uint64_t image_present_locked(const struct image *image); /* bytes of it that are here */
/* Whoever wants all of it can be told what became of that: 1: not yet; 0: it is whole; or why it will not be. */
int image_whole_status_locked(const struct image *image);

/*
 * Must a reader of [OFFSET, OFFSET+LENGTH) wait for the digest? The last chunk is held back until the image is verified, so that nobody who
 * reads all of it reaches the end of a wrong one. It is not held from those who only peek (a kernel looks for partition tables and RAID
 * labels at the end of a disk): while more than HOLD_SLACK bytes of the rest are neither here nor under way, the wait would have no bound.
 * What was shown that way is dropped from the kernel's cache as soon as holding begins, and until that is done nobody gets bytes that
 * arrived since: so who reads all of it finds the tail hidden, or is still to read what he needs.
 */
bool image_held_locked(struct image *image, uint64_t offset, uint64_t length, struct effects *fx);

/* Bytes arrived: if holding begins with them, what was shown of the tail is to be dropped. */
void image_hide_tail_locked(struct image *image, struct effects *fx);

/* Those who are answered go to fx->woken: every reader who can be (STATUS 0), or all of them when STATUS < 0; who waits for any byte of [FIRST, END);
 * who wants all of it. */
void image_take_ready_locked(struct image *image, int status, struct effects *fx);
void image_take_those_locked(struct image *image, uint64_t first, uint64_t end, int status, struct effects *fx);
void image_take_wholes_locked(struct image *image, int status, struct effects *fx);
void image_set_error_locked(struct image *image, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- transitions. NOW: wall clock */

/* known → partial: FILE, with what MAP says of it, and RESERVED bytes had been reserved for that. It has no track yet. */
void image_begun_locked(struct image *image, struct image_file *file, struct chunkmap *map, uint64_t reserved, int64_t now, struct effects *fx);
/* The next LENGTH bytes of CLAIM are in the file. The chunks that are whole with them: [first, end), for the track. */
struct span image_arrived_locked(struct image *image, struct claim *claim, uint64_t length, int64_t now, struct effects *fx);
void image_verified_locked(struct image *image, struct effects *fx); /* its bytes are what its digest says */
/* partial → complete, out of the hands of who published it; it stays retired if it was evicted since. */
void image_completed_locked(struct image *image, struct effects *fx);
/* The row of a known one turned out to have been published: its FILE. */
void image_found_locked(struct image *image, struct image_file *file, const struct image_meta *meta, bool complete, struct effects *fx);
void image_reset_locked(struct image *image, struct effects *fx); /* partial → known: nothing of it is here any more */
/* From here on it is not kept: FILE is memory, and MAP empty. */
void image_passed_locked(struct image *image, struct image_file *file, struct chunkmap *map, const char *why, struct effects *fx);
void image_retired_locked(struct image *image); /* its row was; who has it open goes on with it */
/* No read of it can be right any more: it fetches nothing, and its readers get -EIO. Its row is still to be replaced. */
void image_died_locked(struct image *image, int death, struct effects *fx);
/* Given up for now: what is here stays. Its readers, and who wants all of it, get STATUS. */
void image_failed_locked(struct image *image, int status, struct effects *fx);

#endif
