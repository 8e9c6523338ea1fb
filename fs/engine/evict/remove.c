/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking images out of the cache. An evicted image gets a new row (a new inode) at once; the old row is retired and its file moves to
 * .retired/ until the last handle is closed. Order: commit, then move, then unlink.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/evict/claim.h"
#include "engine/evict/remove.h"
#include "engine/images/images.h"
#include "engine/images/retired.h"

/*
 * In memory, too, the image is not the live one any more. One that is being published has all of its file; one that was loaded before its
 * file was found and taken over has none yet, see image_reload().
 */
static void mark_retired(struct engine *e, int64_t row)
{
    atomic_fetch_add(&e->retirements, 1);
    struct image *image = image_find(e, row);
    if (image == NULL)
        return;
    image_lock(image);
    image_retired_locked(image);
    image_unlock(image);
    image_put(image);
}

/* Of a row that follows ROW. Without a date it may be of another version: its time is in another second, see cat_renew(). */
static int64_t time_after(const struct image_row *row)
{
    int64_t now = clock_now(), next = row->created + NS_PER_S;
    return now < next && now > next - 2 * NS_PER_S ? next : now;
}

int evict_from_name(struct image *image)
{
    struct engine *e = image->engine;
    struct image_row row;
    int64_t fresh;
    int r = catalogue_get(e->catalogue, image->row, &row);
    if (r == 0)
        r = catalogue_retire(e->catalogue, image->row, true, time_after(&row), &fresh);
    if (r < 0)
        return r == -ESTALE || r == -ENOENT ? 0 : r; /* another was faster */
    if (row.pinned && catalogue_set_pinned(e->catalogue, fresh, true) < 0)
        log_warning("%s: it was pinned, and its new row could not be", image->name);
    mark_retired(e, image->row);
    teller_name(e->teller, image->name);
    return 0;
}

static int find_complete(struct engine *e, const char *name, struct image_row *ret)
{
    int r = catalogue_find(e->catalogue, name, ret);
    return r == 0 && ret->state != IMAGE_COMPLETE ? -ENOENT : r;
}

/*
 * An image somebody has open stays in memory while its file moves: whoever loaded it in between would find the file nowhere. Also one that
 * is open since a former worker, whom nothing has asked for yet. NULL: nobody has it.
 */
static struct image *hold(struct engine *e, int64_t row)
{
    struct image *image;
    if (ledger_handles(e->ledger, row) == 0 || image_load(e, row, &image) < 0)
        return image_find(e, row);
    image_keep_open(image);
    return image;
}

/* After its file has moved. What hold() opened is closed here when the last handle was closed meanwhile. */
static void let_go(struct engine *e, int64_t row, struct image *held)
{
    if (held != NULL)
        image_put(held);
    if (!image_close(e, row))
        retired_reap(e, row);
    retired_reap_unused(e);
}

/* An eviction under way: the row that goes, who held it. Begun by removal_begin(), ended by removal_end() once the file has moved. */
struct removal {
    struct name_claim claim;
    struct image_row row;
    struct image *held;
};
enum why_removed { ASKED_FOR, OTHER_VERSION, NO_ROOM };

/* The live row of NAME is retired, and a new one takes the name, pinned as the old one if it is for OTHER_VERSION. */
static int retire(struct engine *e, const char *name, enum why_removed why, int64_t row, struct removal *x)
{
    int64_t fresh;
    int r = find_complete(e, name, &x->row);
    if (r < 0 || (row != 0 && x->row.row != row))
        return r < 0 ? r : -ENOENT;
    if (why == NO_ROOM && ledger_handles(e->ledger, row) > 0)
        return -EBUSY;
    x->held = hold(e, x->row.row);
    int64_t then = time_after(&x->row);
    r = why == NO_ROOM ? catalogue_evict(e->catalogue, x->row.row, then, &fresh)
                       : catalogue_retire(e->catalogue, x->row.row, true, then, &fresh);
    if (r < 0) {
        let_go(e, x->row.row, x->held);
        return r == -ESTALE ? -ENOENT : r; /* another was faster */
    }
    if (why == OTHER_VERSION && x->row.pinned && catalogue_set_pinned(e->catalogue, fresh, true) < 0)
        log_warning("%s: it was pinned, and its new version could not be", name);
    mark_retired(e, x->row.row);
    return 0;
}

/* ROW: that it must be; 0: any. From here on nothing is published under NAME, until removal_end(). */
static int removal_begin(struct engine *e, const char *name, enum why_removed why, int64_t row, struct removal *x)
{
    claim_name(e->names, &x->claim, name);
    int r = retire(e, name, why, row, x);
    if (r < 0)
        claim_end(e->names, &x->claim);
    return r;
}

static void removal_end(struct engine *e, struct removal *x)
{
    claim_end(e->names, &x->claim);
    teller_name(e->teller, x->row.name);
    let_go(e, x->row.row, x->held);
}

static int evict(struct engine *e, const char *name, enum why_removed why, int64_t row)
{
    struct removal x;
    int r = removal_begin(e, name, why, row, &x);
    if (r < 0)
        return r;
    r = store_retire(e->store, STORE_COMPLETE, name, x.row.row);
    if (r < 0 && r != -ENOENT)
        log_errno(r, "%s: evicted, but its file could not be moved away", name);
    ledger_count(e->ledger, COUNT_EVICTIONS, 1);
    ledger_count(e->ledger, COUNT_BYTES_EVICTED, x.row.meta.size);
    log_info("%s: evicted, %llu bytes", name, (unsigned long long)x.row.meta.size);
    removal_end(e, &x);
    return 0;
}

int evict_by_name(struct engine *e, const char *name)
{
    return evict(e, name, ASKED_FOR, 0);
}

int evict_for_another_version(struct engine *e, const char *name)
{
    return evict(e, name, OTHER_VERSION, 0);
}

int evict_idle(struct engine *e, int64_t row)
{
    struct image_row now;
    int r = catalogue_get(e->catalogue, row, &now);
    return r < 0 ? r : evict(e, now.name, NO_ROOM, row);
}

int evict_quarantine(struct engine *e, const char *name, const char *reason)
{
    struct removal x;
    int r = removal_begin(e, name, OTHER_VERSION, 0, &x);
    if (r < 0)
        return r;
    r = store_quarantine(e->store, STORE_COMPLETE, name);
    if (r == 0)
        r = catalogue_invalid_put(e->catalogue, name, reason, x.row.meta.size, clock_now());
    log_notice("%s: quarantined: %s", name, reason);
    removal_end(e, &x);
    return r;
}

void evict_leftover(struct engine *e, const char *name)
{
    struct image_row row;
    int r = catalogue_find(e->catalogue, name, &row);
    if (r < 0 && r != -ENOENT)
        return;
    if (r == 0 && row.state == IMAGE_PARTIAL)
        return;
    struct image *image = r == 0 && row.state == IMAGE_KNOWN ? image_find(e, row.row) : NULL;
    bool used = false;
    if (image != NULL) {
        image_lock(image);
        used = image->state == IMAGE_PARTIAL && !image->through;
        image_unlock(image);
        image_put(image);
    }
    if (used)
        return;
    if (store_remove(e->store, STORE_PARTIAL, name) == 0)
        log_info("%s: a leftover in incomplete/ without a chunk map is removed", name);
}

int evict_forget_invalid(struct engine *e, const char *name)
{
    struct invalid_row row;
    int r = catalogue_invalid_find(e->catalogue, name, &row);
    if (r == 0)
        r = store_remove(e->store, STORE_INVALID, name); /* as long as it cannot be, it counts */
    return r == 0 ? catalogue_invalid_remove(e->catalogue, name) : r;
}
