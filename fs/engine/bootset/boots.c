/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boots under way: a table by row. boots->lock protects the list, boot->lock, which comes after it, what was recorded and what is left to
 * replay; neither is held while the disk is used.
 */
#include "config-auto.h"

#include "engine/bootset/boots.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/bootset/learn.h"
#include "engine/bootset/replay.h"
#include "image/id.h"
#include "image/trace.h"

enum { UNDER_WAY_MAX = 1024, SMALL = 4 << 20 /* such an image comes as a whole as soon */, SHARE = 5, SHARE_LEAST = 16 << 20 /* bytes of an image of which a fifth would be less */ };

struct boot {
    atomic_uint refs;
    TAILQ_ENTRY(boot) link; /* protected by boots->lock */
    int64_t row;
    char name[IMAGE_ID_MAX + 1];
    uint64_t size, limit;
    pthread_mutex_t lock;
    struct trace *trace;       /* NULL: ended; protected by lock */
    struct replay *replay;     /* NULL: nothing is left of it, or never was; protected by lock */
    struct chunkmap *replayed; /* what was asked for because of it; NULL with no set; protected by lock */
    bool started, closed;      /* something of it was read; nobody has it open; protected by lock */
};
TAILQ_HEAD(boot_list, boot);

struct boots {
    struct store *store;
    struct ledger *ledger;
    uint64_t limit;
    int64_t quiet; /* ns */
    pthread_mutex_t lock;
    struct boot_list list; /* each with a reference; protected by lock */
    unsigned count;        /* protected by lock */
    atomic_uint sets;      /* files there are */
};

static int count_one(void *context, const char *name, const struct store_file *file)
{
    (void)name, (void)file;
    ++*(unsigned *)context;
    return 0;
}

static void count_sets(struct boots *b)
{
    unsigned n = 0;
    if (store_scan_bootsets(b->store, count_one, &n) == 0)
        atomic_store(&b->sets, n);
}

struct boots *boots_new(struct store *store, struct ledger *ledger, uint64_t limit, uint64_t quiet)
{
    struct boots *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return NULL;
    *b = (struct boots){.store = store, .ledger = ledger, .limit = limit, .quiet = (int64_t)quiet * NS_PER_S};
    pthread_mutex_init(&b->lock, NULL);
    TAILQ_INIT(&b->list);
    count_sets(b);
    return b;
}

void boots_free(struct boots *b)
{
    if (b == NULL)
        return;
    while (!TAILQ_EMPTY(&b->list)) {
        struct boot *boot = TAILQ_FIRST(&b->list);
        TAILQ_REMOVE(&b->list, boot, link);
        boot_put(boot);
    }
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void boot_put(struct boot *boot)
{
    if (boot == NULL || atomic_fetch_sub(&boot->refs, 1) > 1)
        return;
    trace_free(boot->trace);
    free(boot->replay);
    chunkmap_free(boot->replayed);
    pthread_mutex_destroy(&boot->lock);
    free(boot);
}

/* ---- beginning */

static struct boot *find_locked(struct boots *b, int64_t row)
{
    struct boot *boot;
    TAILQ_FOREACH(boot, &b->list, link) {
        if (boot->row == row) {
            atomic_fetch_add(&boot->refs, 1);
            return boot;
        }
    }
    return NULL;
}

/* The set of an earlier boot, if there is one that can be used. */
static void load_replay(struct boots *b, const struct boot *boot, struct replay **ret, struct chunkmap **ret_replayed)
{
    struct replay *replay = calloc(1, sizeof(*replay));
    struct bootset *set = malloc(sizeof(*set));
    if (set != NULL && replay != NULL && boots_get(b, boot->name, set) == 0 && chunkmap_new(boot->size, ret_replayed) == 0) {
        bootset_fit(set, boot->size);
        bootset_cut(set, boot->limit);
        replay_begin(replay, set);
        *ret = replay;
        replay = NULL;
    }
    free(set);
    free(replay);
}

static struct boot *make(struct boots *b, int64_t row, const char *name, uint64_t size)
{
    struct boot *boot = calloc(1, sizeof(*boot));
    if (boot == NULL)
        return NULL;
    uint64_t share = size / SHARE < SHARE_LEAST ? SHARE_LEAST : size / SHARE;
    boot->row = row;
    boot->size = size;
    boot->limit = share < b->limit ? share : b->limit;
    memcpy(boot->name, name, strlen(name) + 1);
    pthread_mutex_init(&boot->lock, NULL);
    atomic_init(&boot->refs, 1);
    if (trace_new(size, boot->limit, clock_monotonic(), &boot->trace) < 0) {
        boot_put(boot);
        return NULL;
    }
    load_replay(b, boot, &boot->replay, &boot->replayed);
    return boot;
}

struct boot *boots_begin(struct boots *b, int64_t row, const char *name, uint64_t size)
{
    if (b->limit == 0 || size <= SMALL)
        return NULL;
    pthread_mutex_lock(&b->lock);
    struct boot *boot = find_locked(b, row);
    bool full = b->count >= UNDER_WAY_MAX;
    pthread_mutex_unlock(&b->lock);
    if (boot != NULL || full)
        return boot;
    struct boot *new = make(b, row, name, size);
    if (new == NULL)
        return NULL;
    pthread_mutex_lock(&b->lock);
    boot = find_locked(b, row);
    if (boot == NULL) {
        boot = new;
        new = NULL;
        atomic_fetch_add(&boot->refs, 1);
        TAILQ_INSERT_TAIL(&b->list, boot, link);
        b->count++;
    }
    pthread_mutex_unlock(&b->lock);
    boot_put(new);
    return boot;
}

bool boot_is_over(struct boot *boot)
{
    if (boot == NULL)
        return true;
    pthread_mutex_lock(&boot->lock);
    bool over = boot->trace == NULL;
    pthread_mutex_unlock(&boot->lock);
    return over;
}

void boot_closed(struct boot *boot, bool closed)
{
    if (boot == NULL)
        return;
    pthread_mutex_lock(&boot->lock);
    boot->closed = closed;
    pthread_mutex_unlock(&boot->lock);
}

void boot_note(struct boot *boot, uint64_t offset, uint64_t length)
{
    if (boot == NULL)
        return;
    pthread_mutex_lock(&boot->lock);
    boot->started = true;
    if (boot->trace != NULL)
        trace_note(boot->trace, offset, length, clock_monotonic());
    pthread_mutex_unlock(&boot->lock);
}

/* ---- replaying */

bool boot_replays(struct boot *boot)
{
    if (boot == NULL)
        return false;
    pthread_mutex_lock(&boot->lock);
    bool replays = boot->replay != NULL && boot->started && !boot->closed;
    pthread_mutex_unlock(&boot->lock);
    return replays;
}

static void drop_replay_locked(struct boot *boot)
{
    free(boot->replay);
    boot->replay = NULL;
}

bool boot_next(struct boot *boot, uint64_t window, uint64_t gap, struct bootspan *ret)
{
    pthread_mutex_lock(&boot->lock);
    bool found = boot->replay != NULL && boot->started && !boot->closed;
    if (found && !replay_next(boot->replay, window, gap, ret)) {
        drop_replay_locked(boot);
        found = false;
    }
    pthread_mutex_unlock(&boot->lock);
    return found;
}

void boot_pass(struct boot *boot, uint64_t first, uint64_t end, bool asked)
{
    pthread_mutex_lock(&boot->lock);
    if (boot->replay != NULL)
        replay_pass(boot->replay, end);
    if (asked && boot->replayed != NULL) {
        uint64_t chunk = chunkmap_chunk_size(boot->replayed), size = chunkmap_size(boot->replayed);
        for (uint64_t c = first / chunk; c * chunk < end && c * chunk < size; c++)
            chunkmap_set(boot->replayed, c);
    }
    pthread_mutex_unlock(&boot->lock);
}

void boot_give_up(struct boot *boot)
{
    if (boot == NULL)
        return;
    pthread_mutex_lock(&boot->lock);
    drop_replay_locked(boot);
    pthread_mutex_unlock(&boot->lock);
}

/* ---- ending */

/* It is off the list, with the list's reference. */
static void end(struct boots *b, struct boot *boot)
{
    pthread_mutex_lock(&boot->lock);
    struct trace *trace = boot->trace;
    struct chunkmap *replayed = boot->replayed;
    boot->trace = NULL;
    boot->replayed = NULL;
    drop_replay_locked(boot);
    pthread_mutex_unlock(&boot->lock);
    if (trace != NULL && learn_boot(b->store, b->ledger, boot->name, trace, replayed, boot->limit))
        count_sets(b);
    trace_free(trace);
    chunkmap_free(replayed);
    boot_put(boot);
}

static bool is_over(struct boot *boot, int64_t before, bool closed_only)
{
    pthread_mutex_lock(&boot->lock);
    bool over = boot->trace == NULL || (((boot->started && !closed_only) || boot->closed) && trace_grown_at(boot->trace) <= before);
    pthread_mutex_unlock(&boot->lock);
    return over;
}

/* Takes those off the list that are over; ALL: each. */
static void take_over(struct boots *b, bool all, struct boot_list *ret)
{
    int64_t before = clock_monotonic() - b->quiet;
    struct boot *boot, *next;
    pthread_mutex_lock(&b->lock);
    for (boot = TAILQ_FIRST(&b->list); boot != NULL; boot = next) {
        next = TAILQ_NEXT(boot, link);
        if (!all && !is_over(boot, before, b->quiet == 0))
            continue;
        TAILQ_REMOVE(&b->list, boot, link);
        b->count--;
        TAILQ_INSERT_TAIL(ret, boot, link);
    }
    pthread_mutex_unlock(&b->lock);
}

static void end_those(struct boots *b, bool all)
{
    struct boot_list over = TAILQ_HEAD_INITIALIZER(over);
    struct boot *boot, *next;
    take_over(b, all, &over);
    for (boot = TAILQ_FIRST(&over); boot != NULL; boot = next) {
        next = TAILQ_NEXT(boot, link);
        end(b, boot);
    }
}

void boots_tick(struct boots *b)
{
    end_those(b, false);
}

void boots_finish(struct boots *b)
{
    if (b != NULL)
        end_those(b, true);
}

/* ---- sets */

int boots_get(struct boots *b, const char *name, struct bootset *ret)
{
    return learn_load(b->store, name, ret);
}

int boots_put(struct boots *b, const char *name, const char *text, size_t length, unsigned *ret_line)
{
    struct bootset *set = malloc(sizeof(*set));
    int r = set == NULL ? -ENOMEM : bootset_parse(text, length, set, ret_line);
    if (r == 0) {
        bootset_cut(set, b->limit);
        r = learn_save(b->store, name, set);
    }
    free(set);
    if (r == 0)
        count_sets(b);
    return r;
}

int64_t boots_offer(struct boots *b, const char *name)
{
    struct boot *boot;
    pthread_mutex_lock(&b->lock);
    TAILQ_FOREACH(boot, &b->list, link) {
        if (strcmp(boot->name, name) == 0) {
            atomic_fetch_add(&boot->refs, 1);
            break;
        }
    }
    pthread_mutex_unlock(&b->lock);
    if (boot == NULL)
        return 0;
    struct replay *replay = NULL;
    struct chunkmap *replayed = NULL;
    load_replay(b, boot, &replay, &replayed);
    pthread_mutex_lock(&boot->lock);
    bool taken = boot->trace != NULL && boot->replayed == NULL && replay != NULL;
    if (taken) {
        boot->replay = replay;
        boot->replayed = replayed;
    }
    pthread_mutex_unlock(&boot->lock);
    if (!taken) {
        free(replay);
        chunkmap_free(replayed);
    }
    int64_t row = taken ? boot->row : 0;
    boot_put(boot);
    return row;
}

int boots_remove(struct boots *b, const char *name)
{
    int r = store_remove_bootset(b->store, name);
    if (r == 0)
        count_sets(b);
    return r;
}

unsigned boots_count(struct boots *b)
{
    return atomic_load(&b->sets);
}
