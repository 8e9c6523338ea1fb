/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of a fetch that are not good: it is given up for now, or the image changed at the backend. On the fetch thread. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/bootset/boots.h"
#include "engine/fetch/ends.h"
#include "engine/fetch/fetch.h"
#include "engine/images/images.h"

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
    EFFECTS(fx);

    image_ref(image);
    fetch_stop_ranges(image);
    boot_give_up(image->boot);
    image_lock(image);
    image_set_error_locked(image, "%s", why);
    image_failed_locked(image, status, &fx);
    image_unlock(image);
    image->fails = 0;
    image->tried = 0;
    if (image->parts == PARTS_BLAMELESS)
        image->parts = PARTS_UNKNOWN;
    log_warning("%s: not fetched: %s; what is here is kept, the next read asks again", image->name, why);
    ledger_count(image->engine->ledger, COUNT_FETCHES_FAILED, 1);
    keep_error(image, why);
    fetch_leave(image);
    image_do(image, &fx);
    image_put(image);
}

void fetch_give_up(struct image *image)
{
    char why[IMAGE_ERROR_MAX + 1];
    image_lock(image);
    int status = image->failure;
    memcpy(why, image->error, sizeof(why));
    image_unlock(image);
    fetch_fail(image, status, why);
}

void fetch_changed(struct image *image, const char *what)
{
    EFFECTS(fx);

    image_ref(image);
    fetch_stop_ranges(image);
    image_lock(image);
    image_set_error_locked(image, "it changed at the backend while it was being fetched");
    image_died_locked(image, DEATH_CHANGED, &fx);
    image_changed_locked(image);
    image_unlock(image);
    log_warning("%s: changed at the backend (%s); the bytes of the old version are dropped, handles to it get errors, a new open gets the new one",
                image->name, what);
    fetch_leave(image);
    image_do(image, &fx);
    image_put(image);
}
