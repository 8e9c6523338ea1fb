/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking from partial images what is here of them: dropped by who wants it gone, replaced because the image is dead, or not kept any more. What
 * they do is the rows thread's; the image is in their hands meanwhile (image->hands), and is said to have changed at the end.
 */
#include "config-auto.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "engine/bootset/boots.h"
#include "engine/evict/remove.h"
#include "engine/images/images.h"

static void give_back(struct image *image)
{
    image_lock(image);
    image->hands = HANDS_NONE;
    image_changed_locked(image);
    image_unlock(image);
    image_put(image);
}

/* ---- it is dead: its name gets another row */

/* The partial file of a version that the backend does not have any more. */
static void retire_changed(struct image *image)
{
    struct engine *e = image->engine;
    int r = catalogue_retire(e->catalogue, image->row, false, clock_now(), NULL);
    if (r == 0)
        store_remove(e->store, STORE_PARTIAL, image->name);
    else if (r != -ESTALE && r != -ENOENT)
        log_errno(r, "%s: the row of its old version could not be retired", image->name);
}

/* The file to invalid/. True: for the first time, and one fresh try is worth it. */
static bool set_invalid(struct image *image)
{
    struct engine *e = image->engine;
    struct invalid_row before;
    bool again = catalogue_invalid_find(e->catalogue, image->name, &before) == -ENOENT;

    int r = catalogue_retire(e->catalogue, image->row, false, clock_now(), NULL);
    if (r == 0)
        r = store_quarantine(e->store, STORE_PARTIAL, image->name);
    if (r == 0 && !again && strcmp(before.reason, image->error) == 0) /* it stands there since the first time */
        r = catalogue_invalid_set_bytes(e->catalogue, image->name, image->meta.size);
    else if (r == 0)
        r = catalogue_invalid_put(e->catalogue, image->name, image->error, image->meta.size, clock_now());
    if (r < 0)
        log_errno(r, "%s: the image that failed verification could not be put into invalid/", image->name);
    return again;
}

static void replace(void *context)
{
    struct image *image = context;
    bool again = false;
    if (image->death == DEATH_ROTTEN)
        again = set_invalid(image);
    else
        retire_changed(image);
    teller_name(image->engine->teller, image->name);
    image_lock(image);
    image->row_retired = true;
    image->again = again;
    image_unlock(image);
    give_back(image);
}

void evict_replace(struct image *image)
{
    tasks_add(image->engine->rows, replace, image_ref(image));
}

/* ---- it is not kept */

/*
 * The bytes that were kept so far go; the disk may need them more. Also when the catalogue cannot be told because it is full: a row whose file is
 * gone is known again as soon as somebody looks.
 */
static void forget_kept(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;
    struct image_row row;
    int r = catalogue_get(e->catalogue, image->row, &row);
    /* Where not even a row can be written, the bytes must go first: should we end in between, the next start finds the row without a file. */
    if (r == 0 && row.state == IMAGE_PARTIAL) {
        store_remove(e->store, STORE_PARTIAL, image->name);
        r = catalogue_reset(e->catalogue, image->row, IMAGE_PARTIAL);
        if (r < 0 && r != -ESTALE)
            log_errno(r, "%s: its bytes are gone, but the catalogue cannot be told before the next start", image->name);
    }
    image_put(image);
}

void evict_kept(struct image *image)
{
    tasks_add(image->engine->rows, forget_kept, image_ref(image));
}

/* ---- somebody wants its bytes dropped */

static void reset(struct image *image)
{
    EFFECTS(fx);
    image_lock(image);
    if (image->state == IMAGE_PARTIAL) {
        image_reset_locked(image, &fx);
        boot_give_up(image->boot); /* or it would all come again at once */
        image->asked = 0;
    }
    image_unlock_and(image, &fx);
}

/* What is shown of its name from now on may be of another version, and nobody could say so: whoever has some of it gets an error. */
static int drop_version(struct image *image)
{
    EFFECTS(fx);
    int r = evict_from_name(image);
    if (r < 0)
        return r;
    image_lock(image);
    image_set_error_locked(image, "its bytes were dropped, and the backend does not tell versions apart");
    image_died_locked(image, DEATH_CHANGED, &fx);
    image->row_retired = true;
    image_unlock_and(image, &fx);
    log_info("%s: its fetch was stopped and its bytes dropped; handles to it get errors, as the backend does not tell versions apart", image->name);
    return store_remove(image->engine->store, STORE_PARTIAL, image->name);
}

static bool is_bare_and_shown(struct image *image)
{
    image_lock(image);
    bool bare = !image->engine->ops->ids_are_versions && image_meta_is_bare(&image->meta);
    bool shown = image->state == IMAGE_PARTIAL && (image->shown > 0 || image->shown_elsewhere);
    image_unlock(image);
    return bare && shown;
}

/* Those who still read it have it fetched again. */
static int drop(struct image *image)
{
    int r = catalogue_reset(image->engine->catalogue, image->row, IMAGE_PARTIAL);
    if (r < 0) /* its bytes stay, as the catalogue says */
        return log_errno(r, "%s: its fetch was stopped, but its bytes could not be dropped", image->name);
    r = store_remove(image->engine->store, STORE_PARTIAL, image->name);
    reset(image);
    log_info("%s: its fetch was stopped and its bytes dropped", image->name);
    return r;
}

static void drop_bytes(void *context)
{
    struct image *image = context;
    EFFECTS(fx);

    catalogue_queue_remove(image->engine->catalogue, image->name); /* or the queue would fetch it at once again */
    int r = is_bare_and_shown(image) ? drop_version(image) : drop(image);
    image_lock(image);
    image_take_wholes_locked(image, -ECANCELED, &fx);
    image->dropper->status = r;
    TAILQ_INSERT_TAIL(&fx.woken, image->dropper, link);
    image->dropper = NULL;
    image_unlock_and(image, &fx);
    give_back(image);
}

void evict_drop_bytes(struct image *image)
{
    tasks_add(image->engine->rows, drop_bytes, image_ref(image));
}

static int ask_to_drop(struct engine *e, const char *name, bool any, struct waiter *w)
{
    struct image_row row;
    struct image *image;
    int r = catalogue_find(e->catalogue, name, &row);
    if (r < 0 || row.state != IMAGE_PARTIAL)
        return r < 0 ? r : -ENOENT;
    r = image_load(e, row.row, &image);
    if (r < 0)
        return r == -ESTALE ? -ENOENT : r;
    image_lock(image);
    r = image->dropper == NULL ? ENGINE_PARKED : any ? 0 : -EBUSY;
    if (r == ENGINE_PARKED) {
        image->dropper = w;
        image->drop_any = any;
        image_changed_locked(image);
    }
    image_unlock(image);
    image_put(image);
    return r;
}

int evict_drop(struct engine *e, const char *name, struct waiter *w)
{
    return ask_to_drop(e, name, false, w);
}

int evict_discard(struct engine *e, const char *name, struct waiter *w)
{
    struct image_row row;
    int r = catalogue_find(e->catalogue, name, &row);
    if (r < 0)
        return r;
    r = evict_by_name(e, name);
    if (r == -ENOENT)
        r = ask_to_drop(e, name, true, w);
    return r == -ENOENT ? 0 : r;
}

/* ---- it was discarded while it became complete */

static void evict_complete(void *context)
{
    struct image *image = context;
    evict_by_name(image->engine, image->name);
    image_put(image);
}

void evict_unwanted(struct image *image)
{
    tasks_add(image->engine->rows, evict_complete, image_ref(image));
}
