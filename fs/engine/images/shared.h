/* SPDX-License-Identifier: Apache-2.0 */
/* The engine, as its rooms see it: what all of them are given. What a room holds beside that is its own, and has a lock of its own. */
#ifndef GCFS_ENGINE_IMAGES_SHARED_H
#define GCFS_ENGINE_IMAGES_SHARED_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "backends/backend.h"
#include "base/clock.h"
#include "base/tasks.h"
#include "catalogue/catalogue.h"
#include "catalogue/touches.h"
#include "config/config.h"
#include "engine/images/teller.h"
#include "origin/origin.h"
#include "process/arrivals.h"
#include "process/ledger.h"
#include "store/store.h"
#include "transfer/transfer.h"

struct boots;
struct image;

struct engine {
    const struct config *config;
    struct catalogue *catalogue;
    struct store *store;
    struct ledger *ledger;
    struct arrivals *arrivals;
    const struct backend_ops *ops;
    struct backend *backend;
    struct transfers *transfers;
    struct origin *origin;
    pthread_t fetch_thread;
    bool fetching; /* the fetch thread was started */
    struct tasks *rows, *hash, *sync, *lister, *digests, *adopt;
    struct teller *teller;
    struct touches *touches;
    struct boots *boots;
    atomic_bool stopping;
    int64_t agree_at; /* monotonic; the rows thread's: when what the disk did not let go is tried again at the earliest */
    atomic_int_least64_t unwritten; /* bytes of images, here or under way, that the catalogue does not count yet: account.c */
    atomic_int_least64_t reserved;  /* those of them that are under way */
    atomic_uint_least64_t retirements; /* goes up after a row was: what was loaded from it before is not entered, see image_load() */

    /* What the lower rooms say, and who hears it: set before the first thread starts. */
    void (*changed)(void *image); /* on the fetch thread, see image_changed_locked(); it has a reference */
    void (*tail_hidden)(void *hiding); /* image_tail_hidden() */

    /* Each room's own. */
    struct image_table *images;
    struct lookups *lookups;
    struct probes *probes;
    struct lister *listings;
    struct published *published;
    struct gone *gone;
    struct names *names; /* see evict/claim.h */
    struct space *space;
    struct victims *victims;
    struct ages *ages;
    struct fetch *fetch;
    struct queue *queue;
    struct adopted *adopted;
    struct handed_table *handed;
};

#endif
