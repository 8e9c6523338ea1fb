/* SPDX-License-Identifier: Apache-2.0 */
/* The list of images that something may be asked for of. Each holds a reference. On the fetch thread. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/fetch/fetch.h"
#include "engine/fetch/lanes.h"
#include "engine/fetch/private.h"
#include "engine/fetch/request.h"
#include "engine/images/images.h"
#include "store/prefault.h"

int fetch_new(struct fetch **ret)
{
    struct fetch *f = calloc(1, sizeof(*f));
    if (f == NULL)
        return -ENOMEM;
    TAILQ_INIT(&f->active);
    int r = prefault_new(&f->prefault);
    if (r < 0)
        free(f);
    else
        *ret = f;
    return r;
}

void fetch_free(struct fetch *f)
{
    if (f != NULL)
        prefault_free(f->prefault);
    free(f);
}

void fetch_enter(struct image *image)
{
    if (image->active)
        return;
    image_ref(image);
    image->active = true;
    TAILQ_INSERT_TAIL(&image->engine->fetch->active, image, active_link);
}

void fetch_leave(struct image *image)
{
    struct engine *e = image->engine;
    if (!image->active)
        return;
    if (image->retry != NULL) {
        transfers_timer_cancel(e->transfers, image->retry);
        image->retry = NULL;
    }
    lanes_end(image);
    image->active = false;
    image->wants_room = false;
    TAILQ_REMOVE(&e->fetch->active, image, active_link);
    image_lock(image);
    image->fetch_began = 0;
    image_unlock(image);
    image_put(image);
}

void fetch_stop_ranges(struct image *image)
{
    while (range_first(image) != NULL)
        range_free(range_first(image));
}
