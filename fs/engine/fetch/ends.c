/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of a fetch that are not good: it is given up for now, or the image changed at the backend. On the fetch thread. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/images/images.h"
#include "engine/queue.h"

struct verdict {
    struct image *image; /* in memory until its row says it: whoever asks why a read failed would find neither */
    char error[IMAGE_ERROR_MAX + 1];
};

static void write_error(void *context)
{
    struct verdict *v = context;
    catalogue_set_error(v->image->engine->catalogue, v->image->row, v->error);
    image_put(v->image);
    free(v);
}

static void keep_error(struct image *image, const char *why)
{
    struct verdict *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return;
    v->image = image_ref(image);
    snprintf(v->error, sizeof(v->error), "%s", why);
    tasks_add(image->engine->rows, write_error, v);
}

void fetch_fail(struct image *image, int status, const char *why)
{
    struct waiters all = TAILQ_HEAD_INITIALIZER(all);

    image_ref(image);
    fetch_stop_ranges(image);
    boot_give_up(image->boot);
    pthread_mutex_lock(&image->lock);
    image->whole = false;
    image_set_error_locked(image, "%s", why);
    image_take_ready_locked(image, status, &all);
    pthread_mutex_unlock(&image->lock);
    image->fails = 0;
    image->tried = 0;
    if (image->parts == PARTS_BLAMELESS)
        image->parts = PARTS_UNKNOWN;
    log_warning("%s: not fetched: %s; what is here is kept, the next read asks again", image->name, why);
    ledger_count(image->engine->ledger, COUNT_FETCHES_FAILED, 1);
    keep_error(image, why);
    prefetch_done(image, status);
    fetch_leave(image);
    wake_all(&all);
    image_put(image);
}

/* On the rows thread: the partial file of a version that the backend does not have any more. */
static void replace_row(void *context)
{
    struct image *image = context;
    struct engine *e = image->engine;

    int r = catalogue_retire(e->catalogue, image->row, false, clock_now(), NULL);
    if (r == 0)
        store_remove(e->store, STORE_PARTIAL, image->name);
    else if (r != -ESTALE && r != -ENOENT)
        log_errno(r, "%s: the row of its old version could not be retired", image->name);
    teller_name(e->teller, image->name);
    prefetch_done(image, -ESTALE);
    image_put(image);
}

void fetch_changed(struct image *image, const char *what)
{
    struct waiters all = TAILQ_HEAD_INITIALIZER(all);

    image_ref(image);
    fetch_stop_ranges(image);
    image->stopping = true;
    pthread_mutex_lock(&image->lock);
    image->whole = false;
    image->dead = -EIO;
    image_untrack_locked(image);
    image_set_error_locked(image, "it changed at the backend while it was being fetched");
    image_take_ready_locked(image, -EIO, &all);
    pthread_mutex_unlock(&image->lock);
    log_warning("%s: changed at the backend (%s); the bytes of the old version are dropped, handles to it get errors, a new open gets the new one",
                image->name, what);
    tasks_add(image->engine->rows, replace_row, image_ref(image));
    fetch_leave(image);
    wake_all(&all);
    image_put(image);
}
