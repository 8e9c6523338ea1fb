/* SPDX-License-Identifier: Apache-2.0 */
/* An image in memory: its state, and what is here of it. */
#ifndef GCFS_ENGINE_IMAGES_IMAGE_H
#define GCFS_ENGINE_IMAGES_IMAGE_H

#include <sys/queue.h>
#include <uthash.h>

#include "engine/bootset/boots.h"
#include "engine/images/shared.h"
#include "image/chunkmap.h"
#include "image/cursors.h"
#include "image/waiters.h"
#include "store/file.h"

enum { HOLD_SLACK = 16 << 20 };

/* Bytes of an image that a request was made for: nobody asks for them again. */
struct claim {
    TAILQ_ENTRY(claim) link;
    uint64_t start, pos, end; /* claimed [start, end), here [start, pos) */
    atomic_bool connected;    /* it has a connection; for who counts them */
};
TAILQ_HEAD(claims, claim);

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
    struct claims claims;    /* written by the fetch thread only */
    struct waiters waiters;  /* reads */
    uint64_t parked;         /* reads that ever were among them */
    struct cursors cursors;
    struct chunkmap *ahead;  /* asked for ahead, and not read yet; NULL: nothing, see ahead.h */
    uint64_t reach;          /* bytes that come in the time of an answer; 0: not known, see fetch/reach.h */
    struct boot *boot;       /* it is recorded and replayed; NULL: it is not */
    uint64_t rate;           /* bytes a second of one connection, smoothed; 0: not known yet */
    int64_t wait;            /* ns to a first byte, smoothed */
    uint64_t asked;          /* bytes readers asked for that were not here at once, or before the image was whole */
    bool whole;              /* all of it is wanted */
    int64_t queue_row;       /* > 0: a prefetch of the queue */
    bool digest_settled;     /* meta.digest is what there is; until then the tail is held back */
    bool finishing;          /* all chunks here, in the hands of hash and sync */
    bool unwanted;           /* it was removed while finishing: it is evicted once it is complete */
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
    bool active;    /* on engine->active, which holds a reference */
    bool beginning; /* the rows thread makes its file */
    bool stopping;  /* being dropped or found changed: no new ranges */
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
TAILQ_HEAD(images, image);

/* The tail of an image is being dropped from the kernel's cache. */
struct hiding {
    struct engine *engine;
    int64_t row;
};

/* Are the bytes [OFFSET, OFFSET+LENGTH) here? */
bool image_available_locked(const struct image *image, uint64_t offset, uint64_t length);
/*
 * Must a reader of [OFFSET, OFFSET+LENGTH) wait for the digest? The last chunk is held back until the image is verified, so that nobody who
 * reads all of it reaches the end of a wrong one. It is not held from those who only peek (a kernel looks for partition tables and RAID
 * labels at the end of a disk): while more than HOLD_SLACK bytes of the rest are neither here nor under way, the wait would have no bound.
 * What was shown that way is dropped from the kernel's cache as soon as holding begins, and until that is done nobody gets bytes that
 * arrived since: so who reads all of it finds the tail hidden, or is still to read what he needs.
 */
bool image_held_locked(struct image *image, uint64_t offset, uint64_t length);
/* Is all of it here, to be verified and published? One that could not be published is left alone a while, unless somebody waits for it. */
bool image_may_finish_locked(const struct image *image);
/* Bytes arrived: if holding begins with them, what was shown of the tail is to be dropped. Nobody asks for what the kernel has. */
void image_hide_tail_locked(struct image *image);
void image_tail_hidden(void *hiding); /* the kernel has dropped it; any thread */
uint64_t image_present_locked(const struct image *image); /* bytes of it that are here */
/* Takes every waiter off IMAGE that can be answered (STATUS 0), or all of them when STATUS < 0. Wake them by wake_all(). */
void image_take_ready_locked(struct image *image, int status, struct waiters *out);
/* Those who wait for any byte of [FIRST, END), likewise. */
void image_take_those_locked(struct image *image, uint64_t first, uint64_t end, int status, struct waiters *out);
void image_forget_shown_locked(struct image *image); /* its file is none that has what was shown of it, if anything was */
void image_dirty_locked(struct image *image); /* something of it is not in the catalogue yet */
/* Its file is a new one, or not a partial one any more: so is its track. */
void image_track_locked(struct image *image);
void image_untrack_locked(struct image *image);
void image_set_error_locked(struct image *image, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Somebody else may have to do something about it: the fetch thread will look, once for any number of such words. Any thread. */
void image_changed(struct image *image);
void image_changed_locked(struct image *image); /* the same, with image->lock held */

#endif
