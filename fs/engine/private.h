/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine's rooms share among themselves: the engine and an image in memory. See engine.h for threads and locks. */
#ifndef GCFS_ENGINE_PRIVATE_H
#define GCFS_ENGINE_PRIVATE_H

#include <errno.h>
#include <pthread.h>
#include <sys/queue.h>
#include <uthash.h>

#include "backends/backend.h"
#include "backends/refusal.h"
#include "base/clock.h"
#include "base/tasks.h"
#include "engine/engine.h"
#include "engine/fetch/pace.h"
#include "engine/fetch/plan.h"
#include "image/chunkmap.h"
#include "image/cursors.h"
#include "store/writer.h"
#include "transfer/transfer.h"

enum { PROBE_BYTES = 256 * 1024, ENDPOINTS_MAX = CONFIG_ENDPOINTS_MAX };
enum { CONNECTIONS_MAX = 64, CONNECTIONS_DEMAND = 16 };
enum { BLOCK = 256 << 10, BUFFERS = 16 }; /* BLOCK: what the kernel reads at once, see mount_read_ahead() */
enum { ENDPOINT_AUTH = ENDPOINTS_MAX }; /* beside the backend's endpoints: whom its credentials come from */
/* The one bound of pauses between tries, also of those that a server asks for with Retry-After: somebody may wait. In glance-cache.conf(5). */
enum { PAUSE_MAX_S = 10 };
enum { STREAMS_LOST_MAX = 3 }; /* HTTP/2 streams that the server gave up in a row, until it counts as a failure */
enum { HOLD_SLACK = 16 << 20 };

/* Somebody who waits for a credential, on the fetch thread. Zeroed but for ready and context. */
struct auth_waiter {
    TAILQ_ENTRY(auth_waiter) link;
    struct auth_waiters *list; /* that it is on; NULL: it does not wait */
    void (*ready)(void *context, int status);
    void *context;
};
TAILQ_HEAD(auth_waiters, auth_waiter);

/* What a request is for; a lower value is served first. */
enum fetch_class { FETCH_CLASS_DEMAND, FETCH_CLASS_AHEAD, FETCH_CLASS_WHOLE_IMAGE, FETCH_CLASS_PREFETCH, FETCH_CLASSES };

/*
 * A request for bytes of an image. Under way while it has a transfer; without one it keeps its place and what it received, and is
 * asked again for the rest when the image's retry is due. Made, changed and freed on the fetch thread only.
 */
struct range {
    TAILQ_ENTRY(range) link;
    struct image *image;
    uint64_t start, pos, end; /* claimed [start, end), here [start, pos); protected by image->lock */
    enum fetch_class class;
    unsigned endpoint;
    struct transfer *transfer;
    bool capped; /* held to its share of background_rate, until somebody waits for it */
    atomic_bool asked; /* it has a transfer: for who counts connections */
    struct auth_waiter auth;
    unsigned credential, auth_tries; /* that it was asked with; with how many since it got somewhere */
    unsigned streams_lost; /* since it got somewhere, by no fault that the endpoint is blamed for */
    unsigned extras, others; /* of the request; how often it was made otherwise since it got somewhere */
    struct image_file *file; /* where its bytes go */
    int64_t asked_at, first_at; /* monotonic */
    uint64_t asked_pos; /* pos when it was asked last */
    struct writer writer;  /* gathers what came after pos and is not in the file yet; without a buffer when there were enough of them */
    int broken;            /* negative errno: gathered bytes could not be written, the request must end */
    bool stream;        /* made as the one stream of an unproven image; others bring nothing any more */
    uint64_t skip;      /* bytes of the answer still to come that are here already (no Range support) */
    unsigned retry_after; /* seconds; the last answer's Retry-After */
    char why[96];       /* what is wrong with the answer, for the log; "" */
};
TAILQ_HEAD(ranges, range);

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

    UT_hash_handle hh; /* engine->images; protected by engine->lock */
    atomic_uint refs;  /* goes up by who has one, or under engine->lock; down to 0 only under it */
    UT_hash_handle wish; /* engine->wishes, by name, while wished; protected by engine->lock */
    bool wished;       /* it waits for its line in the published digests; protected by engine->lock */
    bool opened;       /* holds one reference for all handles in the ledger; protected by engine->lock */

    pthread_mutex_t lock;
    /* protected by lock: */
    enum image_state state;
    struct image_meta meta;
    int64_t described;
    struct image_file *file; /* NULL while known */
    struct chunkmap *map;    /* NULL unless partial */
    struct track *track;     /* the same for the next worker; NULL: it has only the catalogue's */
    int dead;                /* negative errno that every read gets */
    struct ranges ranges;    /* written by the fetch thread only */
    struct waiters waiters;  /* reads */
    uint64_t parked;         /* reads that ever were among them */
    struct cursors cursors;
    uint64_t rate;           /* bytes a second of one connection, smoothed; 0: not known yet */
    int64_t wait;            /* ns to a first byte, smoothed */
    uint64_t asked;          /* bytes readers asked for that were not here at once, or before the image was whole */
    bool whole;              /* all of it is wanted */
    int64_t queue_row;       /* > 0: a prefetch of the queue */
    bool digest_settled;     /* meta.digest is what there is; until then the tail is held back */
    bool finishing;          /* all chunks here, in the hands of hash and sync */
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
    int64_t unwritten;       /* its part of engine->unwritten */
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
    unsigned tried; /* endpoints asked since the last progress, a bit each */
    struct transfer_timer *retry;
    int64_t retry_least; /* monotonic; not before then, also when the backend turns out to be well again */
    struct pace pace;     /* of the fetch of all of it, see lanes.c */
    struct transfer_timer *lanes_timer;

    struct digest_stream *digest; /* the hash thread's */
};
TAILQ_HEAD(images, image);

/* The tail of an image is being dropped from the kernel's cache. */
struct hiding {
    struct engine *engine;
    int64_t row;
};

/* Look-ups by who asks, see turns.c. */
struct turn_user;
struct turns {
    TAILQ_HEAD(, turn_user) users;
    unsigned under_way, waiting; /* look-ups of all users */
};

/* A look-up under way: one for a name, however many ask. */
struct lookup {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
    UT_hash_handle hh;      /* engine->lookups; protected by engine->lock */
    struct waiters waiters; /* protected by engine->lock */
    /* the fetch thread's: */
    struct transfer *transfer;
    enum { TURN_NONE, TURN_WAITING, TURN_UNDER_WAY } turn;
    struct turn_user *turn_of; /* NULL before its first */
    TAILQ_ENTRY(lookup) turn_link;
    struct transfer_timer *pause;
    int64_t pause_least; /* monotonic; as image->retry_least */
    struct auth_waiter auth;
    unsigned credential, auth_tries, streams_lost;
    unsigned extras, others; /* of the request; how often it was made otherwise, at this endpoint */
    unsigned endpoint, tries, tried_endpoints;
    int64_t began; /* monotonic */
    int64_t asked_at; /* monotonic */
    bool known; /* there is a row to go on with when the backend cannot be asked; set before it is asked */
    bool again; /* asked by describe_again() */
    bool ranged, plain; /* it was asked for a part; it is asked for all, because that was refused */
    int status;
    bool settling; /* in the hands of the rows thread; protected by engine->lock */
    struct image_meta meta;
    struct transfer_head head; /* a copy, without the headers */
    size_t probe; /* bytes of the image asked for with it: PROBE_BYTES; 1 when only its version is in question */
    unsigned char *body; /* PROBE_BYTES; NULL until some come */
    size_t length;
};

/* The first bytes that came with a look-up, until the image is read or others push them out. */
struct probe {
    int64_t row;
    struct image_meta meta; /* what they are of */
    unsigned char *bytes;
    size_t length;
    uint64_t used;
};
enum { PROBES = 32 };

/* A name whose version changed while it was fetched. */
struct unsteady {
    char name[IMAGE_ID_MAX + 1];
    int64_t at; /* monotonic; the last time */
    unsigned changes; /* each less than a minute after the one before */
};
enum { UNSTEADY = 16 };

struct endpoint_health {
    int64_t down_until; /* monotonic */
    unsigned fails;     /* in a row */
    int64_t denied_at;   /* monotonic; when it was logged last that it refuses us */
    bool told_whole;     /* it was logged that it does not send parts */
    int64_t last_ok, last_error; /* wall clock; 0: never */
    char error[160];
};

/* Which version of a file of published digests is in the catalogue: headers as the server sent them; "": none. */
struct document_validator {
    unsigned endpoint;
    char etag[128], modified[64];
};
enum { DOCUMENTS_MAX = 8 }; /* whose validators are kept */

/* A name whose file is being moved, see claim.c. */
struct claim {
    TAILQ_ENTRY(claim) link;
    const char *name;
};
TAILQ_HEAD(claims, claim);

struct touches; /* hits and access times not written yet */

struct engine {
    const struct config *config;
    struct catalogue *catalogue;
    struct store *store;
    struct ledger *ledger;
    struct arrivals *arrivals;
    struct kernel_notify kernel;
    void (*tail_hidden)(void *hiding); /* image_tail_hidden() */
    const struct backend_ops *ops;
    struct backend *backend;
    void (*on_well)(void *engine); /* on the fetch thread: an endpoint that failed answers again */
    struct transfers *transfers;
    pthread_t fetch_thread;
    bool fetching; /* the fetch thread was started */
    struct tasks *rows, *hash, *sync, *lister, *digests, *adopt;
    struct teller *teller;
    struct touches *touches;
    atomic_bool stopping;
    atomic_int_least64_t unwritten; /* bytes of images, here or under way, that the catalogue does not count yet */
    atomic_int_least64_t reserved;  /* those of them that are under way */
    atomic_uint_least64_t retirements; /* goes up after a row was: what was loaded from it before is not entered, see image_load() */
    atomic_int_least64_t wait;      /* ns to a first byte, smoothed; written by the fetch thread */
    atomic_bool sweeping;           /* images that are gone at the backend are being forgotten */
    atomic_bool digests_distrusted; /* an image did not match: read the published digests again */

    pthread_mutex_t lock;
    struct image *images;   /* by row; protected by lock */
    struct image *wishes;   /* by name, that wait for a published digest; protected by lock */
    struct lookup *lookups; /* by name; protected by lock */
    struct probe probes[PROBES]; /* protected by lock */
    uint64_t probe_clock;
    struct waiters list_waiters; /* protected by lock */
    bool listing;                /* protected by lock */
    atomic_bool slow;            /* the last look-up took longer than who is in a hurry waits */
    int64_t listed_at;           /* wall clock; when the last listing ended well; protected by lock */
    int64_t list_failed_at;      /* monotonic; protected by lock */
    int list_status;             /* of the last try; protected by lock */
    struct endpoint_health endpoints[ENDPOINTS_MAX + 1]; /* the last: whom credentials come from; protected by lock */
    struct prefetch *prefetches; /* by name: entries of the queue under way; protected by lock */
    struct claims claims;        /* protected by lock */
    pthread_cond_t claim_ended;
    uint64_t left, left_bytes;   /* files there that the backend does not know, see adopt.c; protected by lock */
    bool adopting;               /* what lies in the cache directory is being looked at; protected by lock */

    /* the fetch thread's: */
    struct {
        struct transfer *transfer; /* the renewal under way; NULL */
        struct auth_waiters waiters;
        char *body;
        size_t length, room;
        const char *why;
        unsigned retry_after, fails; /* fails: in a row */
        int64_t not_before; /* monotonic */
        int status;         /* of the one that failed */
    } auth;
    struct turns turns;
    struct images active;
    struct unsteady unsteady[UNSTEADY];
    unsigned connections, capped, buffers; /* ranges: that have a transfer, that are capped, that have a buffer */
    struct prefault *prefault;
    int64_t expire_at;                /* monotonic; the rows thread's: when cache_ttl is looked at next */
    int64_t sweep_at;                 /* monotonic; the rows thread's: when it is looked at next how many images are known */
    int64_t clock_offset, clock_noted_at; /* the rows thread's: wall clock less the running one, 0 at first; when it is noted next */
    bool making_room;                 /* the rows thread evicts */
    uint64_t room_length, room_needed; /* what was asked for, and how much of it must be freed; fixed while it does */

    /* the digests thread's: */
    int64_t digests_at; /* monotonic; 0: never */
    struct document_validator documents[DOCUMENTS_MAX];
};

/* ---- engine.c */

/* FN(CONTEXT) on the fetch thread. False: the loop has ended, FN is not called. Any thread, any lock. */
bool engine_post(struct engine *e, void (*fn)(void *context), void *context);
void engine_tell_name(struct engine *e, const char *name); /* see teller_name() */

/* ---- teller.c: what the kernel is to forget. It is told on threads apart. Any thread, any lock */

int teller_new(const struct kernel_notify *kernel, struct teller **ret);
void teller_finish(struct teller *t); /* waits until all is told. NULL is fine */
void teller_name(struct teller *t, const char *name); /* cached/NAME or incomplete/NAME is there no more, or is there now */
/* Pages that a reader has left behind: they go, or stay until the kernel takes them. */
void teller_behind(struct teller *t, int64_t row, uint64_t offset, uint64_t length);
/* Pages nobody must read any more: DONE(CONTEXT) is called, on another thread, once they are gone, which may be long. -ENOMEM: not at all. */
int teller_tail(struct teller *t, int64_t row, uint64_t offset, uint64_t length, void (*done)(void *context), void *context);

/* ---- image.c: images in memory */

/* Is FD the file that ROW was made with? 0; -ESTALE: another one of its name; -EBADMSG: its size is wrong. One that was copied, and lost its
 * tag, is believed when it was whole. */
int image_check_file(int fd, const struct image_row *row);
/* Loads the image of ROW or finds it, with one reference more. -ESTALE when there is no such row. Blocks on the disk. */
int image_load(struct engine *e, int64_t row, struct image **ret);
/* The row of an image known in memory turned out to be complete, or to have been that: takes its file. Blocks on the disk. -ESTALE: gone. */
int image_reload(struct image *image);
struct image *image_find(struct engine *e, int64_t row); /* with one reference more; NULL when it is not in memory */
struct image *image_ref(struct image *image);
void image_put(struct image *image); /* any thread; the last one frees it, and reaps a retired image nobody has open */

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
uint64_t image_present_locked(const struct image *image);
/* Takes every waiter off IMAGE that can be answered (STATUS 0), or all of them when STATUS < 0. Wake them by wake_all(). */
void image_take_ready_locked(struct image *image, int status, struct waiters *out);
void image_forget_shown_locked(struct image *image); /* its file is none that has what was shown of it, if anything was */
void image_dirty_locked(struct image *image); /* something of it is not in the catalogue yet */
/* Its file is a new one, or not a partial one any more: so is its track. */
void image_track_locked(struct image *image);
void image_untrack_locked(struct image *image);
/* At the start: images that a worker which died had fetched more of than the catalogue knows go there. Blocks on the disk. */
void image_take_over(struct engine *e);
void image_discard(struct image *image); /* at the end, with no thread left: whatever its references */
void image_set_error_locked(struct image *image, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- fetch.c: the fetch thread */

void fetch_visit(struct image *image);        /* any thread: the fetch thread will look what there is to do for it */
void fetch_visit_locked(struct image *image); /* the same, with image->lock held */
void fetch_attend(struct image *image);       /* on the fetch thread */
void fetch_schedule(struct engine *e);        /* on the fetch thread: start what may start */
void fetch_stop_ranges(struct image *image);                       /* on the fetch thread: cancels them all */
void fetch_on_well(void *engine);                                  /* on the fetch thread: the backend answers again */
void fetch_leave(struct image *image);                             /* on the fetch thread: off the active list */

/* ---- fetch/ends.c: on the fetch thread */

void fetch_fail(struct image *image, int status, const char *why); /* give up for now; readers get STATUS */
void fetch_changed(struct image *image, const char *what);         /* another version at the backend */

/* ---- range.c: requests for bytes */

int range_start(struct image *image, enum fetch_class class, struct span span);
int range_again(struct range *range);
void range_retry_early(struct image *image); /* it waits for its next try, and the backend is well again */
void range_free(struct range *range); /* cancels its transfer */
void range_hurry(struct image *image); /* somebody may wait for bytes of a range that is held to a rate */
void range_serve(struct image *image); /* somebody new may wait for bytes that arrived and are not in the file yet */

/* ---- whole.c: servers that do not send parts of an image; on the fetch thread */

/* Is HEAD maybe the answer of such a server? Then it is to be asked for all. Notes, too, that parts are sent. */
bool whole_is_suspected(struct range *range, const struct transfer_head *head);
void whole_proved(struct range *range);                    /* all of it came instead of a part, or where a part was refused */
bool whole_was_refused(struct image *image, int status);   /* it was answered STATUS: was it asked for all, and in vain as well? */

/* ---- version.c: which answers are of the version that is fetched; on the fetch thread */

enum { VERSION_STRANGER = -EXDEV }; /* this endpoint's bytes do not count: another is to be asked */

/* An answer's head; ERROR: what backend_check_bytes() said of it. 0: its bytes count. -ESTALE: it is of another version; VERSION_STRANGER;
 * -ENOTSUP: the image comes as one stream from here on. range->why says what is wrong. */
int version_check(struct range *range, const struct transfer_head *head, int error);
/* The next LENGTH bytes that RANGE skips, as they are here already. 0 when they are the same; as version_check(). */
int version_compare(struct range *range, const unsigned char *bytes, size_t length);
/* The image is of the version of HEAD, wholly. -ESTALE: of another size. */
int version_adopt(struct range *range, const struct transfer_head *head);
void version_begin(struct image *image); /* before its first byte is asked for: does it come as one stream? */
bool version_may_go_on(const struct image *image); /* false: what was shown of it cannot be compared with what would come */
void version_place_locked(struct range *range); /* a new range: where it goes on, when it is the one stream */
void version_changed(struct engine *e, const char *name); /* an answer said so */

/* ---- fetch/lanes.c: over how many connections all of an image is fetched; on the fetch thread */

unsigned lanes_of(const struct image *image); /* how many it may use now */
void lanes_begin(struct image *image);        /* a request was made while all of it is wanted */
void lanes_end(struct image *image);

/* ---- origin.c: the health of endpoints, and the connection to them */

unsigned origin_choose(struct engine *e, unsigned *ret_untried); /* bit mask in: those tried already are passed over when others are there */
/* The same, but ENDPOINT while it was not tried and is not down. */
unsigned origin_prefer(struct engine *e, unsigned endpoint, unsigned *ret_untried);
bool origin_all_down(struct engine *e); /* each of them failed a moment ago (any thread) */
void origin_waited(struct engine *e, int64_t waited); /* on the fetch thread: an answer began after so many ns; see engine->wait */
/* It answered. After a failure the fetch thread is told by engine->on_well. Any thread. */
void origin_ok(struct engine *e, unsigned endpoint);
void origin_failed(struct engine *e, unsigned endpoint, int error, const char *what, unsigned retry_after);
json_t *origin_status(struct engine *e);

/* ENDPOINT answered RESULT to a request with EXTRAS, after *OTHERS of it that were made otherwise: true, and one more of these: it is worth to
 * be made again at once, for it would be another one. Any thread. */
bool origin_otherwise(struct engine *e, unsigned endpoint, unsigned extras, const struct transfer_result *result, unsigned *others);
/* NAME was not had because ENDPOINT answered 401 or 403, which WHAT tells: said in the log, once a minute. */
void origin_denied(struct engine *e, unsigned endpoint, const char *name, const char *what);
/* ENDPOINT does not send parts of NAME, and maybe of no image: said in the log, once. Any thread. */
void origin_sends_whole(struct engine *e, unsigned endpoint, const char *name);

/* ---- auth.c: credentials that must be had first; on the fetch thread but for auth_now() */

enum { AUTH_PARKED = 1, AUTH_TRIES = 2 };
/* 0: go ahead; AUTH_PARKED: W->ready is called when there is a credential or none is to be had; -EACCES, -EHOSTUNREACH: none is. */
int auth_wait(struct engine *e, struct auth_waiter *w);
uint64_t auth_pause(const struct engine *e); /* ms until a login is tried again after one that failed; 0: now */
void auth_cancel(struct auth_waiter *w); /* it does not wait any more; fine when it does not */
unsigned auth_credential(struct engine *e); /* that the next request is made with; any thread */
/* A request made with CREDENTIAL was answered with REFUSAL: is it worth another try? *TRIES counts them. Any thread. */
bool auth_again(struct engine *e, const struct refusal *refusal, unsigned credential, unsigned *tries);
int auth_now(struct engine *e); /* another thread; waits for the fetch thread: 0 or why there is none; -ECANCELED */

/* ---- lookup/probes.c */

/* The first LENGTH bytes of what META, as the catalogue has it for ROW, is said of; takes BYTES. */
void probe_keep(struct engine *e, int64_t row, const struct image_meta *meta, unsigned char *bytes, size_t length);
/* Those of an image of which META is said; free() it. NULL: there are none, or of what may be another version. */
unsigned char *probe_take(struct engine *e, int64_t row, const struct image_meta *meta, size_t *ret_length);
void probe_free_all(struct engine *e);

/* ---- turns.c: which look-up is made next; on the fetch thread */

/* Behind those of USER that wait already. One that waits for the turn of another goes over to him when that is sooner. -ENOMEM. */
int turns_wait(struct turns *t, struct lookup *l, uint32_t user);
struct lookup *turns_next(struct turns *t);               /* the one to be made now; NULL */
void turns_end(struct turns *t, struct lookup *l);        /* it is done with, or does not wait any more; fine when it never did */
void turns_free(struct turns *t);                         /* at the end, when the look-ups are gone */

/* ---- lookup.c */

void lookup_retry_early(struct engine *e); /* on the fetch thread: those that pause are tried now */
void lookup_stop(struct engine *e); /* after the fetch thread ended: wakes who waits for answers that will not come */

/* ---- publish/hasher.c, verify.c, checkpoint.c */

void hasher_follow_locked(struct image *image); /* any thread: let the digest follow what is here by now */
void verify_start(struct image *image);         /* on the fetch thread: all chunks are here and the digest is settled */
void checkpoint_version(struct image *image);   /* blocks: what the first answer for bytes told of its version, to the catalogue */
void checkpoint_all(struct engine *e);          /* on the sync thread, about once a second */
void checkpoint_last(struct engine *e);         /* at the end, with only the rows thread left, which ends it */

/* ---- lookup/listing.c */

/* What ASK returns; it is asked once more when the server has refused (*REFUSAL) a credential that was thought good. Blocks. */
int lister_ask(struct engine *e, int (*ask)(void *context), void *context, struct refusal *refusal);

/* ---- lookup/gone.c: images that the backend does not have any more */

void gone_after_listing(struct engine *e); /* any thread: one ended */
void gone_tick(struct engine *e);          /* on the rows thread */

/* ---- evict/ages.c */

void ages_start(struct engine *e); /* before anything is read: that is newer than all there is */
void ages_tick(struct engine *e);  /* on the rows thread, before anything expires */

/* ---- lookup/digests.c: those beside the images */

void published_settle(struct image *image); /* any thread: have meta.digest settled, then visit */
int published_digest_now(struct engine *e, const char *name, struct digest *ret); /* waits for it; -ENOENT: none is published */
void published_distrust(struct engine *e); /* any thread: read them anew for the next image */

/* ---- prefetch.c */

void prefetch_kick(struct engine *e);  /* any thread */
void prefetch_tick(struct engine *e);  /* on the rows thread */
void prefetch_done(struct image *image, int status); /* any thread: its fetch ended, with image->error when STATUS < 0 */
void prefetch_stop(struct engine *e, const char *name); /* any thread: its entry left the queue */
/* Has all of NAME fetched in the background, after a look-up of its own; QUEUE_ROW 0: not for the queue. Any thread; blocks on the disk. */
void prefetch_start(struct engine *e, const char *name, int64_t queue_row, uint64_t attempts);
bool prefetch_is_under_way(struct engine *e, const char *name);
void prefetch_free_all(struct engine *e); /* at the end, with no thread left */

/* ---- evict.c */

int evict_for_another_version(struct engine *e, const char *name); /* as engine_evict(); a pin goes to the new version */
/* As engine_evict(), of the complete image ROW, for who chose it to make room: -EBUSY when it is open, -ENOENT when it is pinned or gone
 * by now. */
int evict_idle(struct engine *e, int64_t row);
/* On the rows thread: removes what lies in incomplete/ under NAME if no image has it. */
void evict_leftover(struct engine *e, const char *name);
/* Who has IMAGE open goes on with it, who opens its name from now on gets a row of his own. 0, also when that is so already. Blocks. */
int evict_from_name(struct image *image);
void evict_reap(struct engine *e, int64_t row); /* blocks: removes a retired row and its file when nobody has it open */

/* ---- claim.c: who may move the file of a name; waits for another who does. NAME stays until the end */

void claim_name(struct engine *e, struct claim *claim, const char *name);
void claim_end(struct engine *e, struct claim *claim);

/* ---- space.c */

/* May LENGTH more bytes of IMAGE be asked for? False: room is being made, or it goes through now. On the fetch thread. */
bool space_reserve(struct image *image, uint64_t length);
/* The same for the first LENGTH bytes, which are here already, on the rows thread; evicts itself. True: they are counted as under way. */
bool space_reserve_first(struct image *image, uint64_t length);
bool space_fits(struct engine *e, uint64_t length);   /* would LENGTH more bytes fit as it is? Reads the catalogue */
bool space_can_hold(struct engine *e, uint64_t size); /* could an image of SIZE ever be kept? */
/* Bytes of IMAGE not counted by the catalogue became more or fewer; of them, those under way. image->lock held. */
void space_count(struct image *image, int64_t unwritten, int64_t reserved);
uint64_t space_used(struct engine *e); /* reads the catalogue */
void space_expire(struct engine *e);   /* cache_ttl; on the rows thread */

/* ---- through.c; all on the fetch thread */

/* Why what could not be written for ERROR is not kept. */
void through_failed(int error, char *why, size_t size);
void through_start(struct image *image, const char *why); /* from now on it is not kept */
void through_trim(struct image *image);                   /* after readers were answered: drop what is beyond the window */
void through_turn_back(struct image *image); /* one stream ends: a reader waits for what it dropped, or none is left */
void through_leave(struct image *image);                  /* when it is time to try the normal way again, it is known */

/* ---- adopt.c */

int adopt_start(struct engine *e);

/* ---- touches.c */

struct touches *touches_new(void);
void touches_free(struct touches *t);
void touches_add(struct touches *t, int64_t row, uint64_t hits, int64_t accessed);
void touches_overlay(struct touches *t, struct image_row *row);
void touches_flush(struct touches *t, struct catalogue *c); /* blocks */

#endif
