/* SPDX-License-Identifier: Apache-2.0 */
/* What a change of an image leaves to be done: the one place where it is, once the lock is given back. */
#include "config-auto.h"

#include <stdlib.h>

#include "engine/images/image.h"

/* The kernel drops the end of it. Where it cannot be told, the end is shown as before, and hidden with what comes next. */
static void hide_tail(struct image *image, struct effects *fx)
{
    struct engine *e = image->engine;
    uint64_t length = fx->hidden.end - fx->hidden.first;
    if (teller_tail(e->teller, image->row, fx->hidden.first, length, e->tail_hidden, fx->hide) == 0)
        return;
    image_lock(image);
    image->hiding = NULL;
    image->tail_shown = true;
    chunkmap_free(image->given);
    image->given = NULL;
    image_unlock(image);
    free(fx->hide);
}

void image_do(struct image *image, struct effects *fx)
{
    struct engine *e = image->engine;
    if (fx->unwritten != 0)
        atomic_fetch_add(&e->unwritten, fx->unwritten);
    if (fx->reserved != 0)
        atomic_fetch_add(&e->reserved, fx->reserved);
    track_free(e->arrivals, fx->track);
    image_file_put(fx->file);
    chunkmap_free(fx->map);
    if (fx->hide != NULL)
        hide_tail(image, fx);
    wake_all(&fx->woken);
}

void image_unlock_and(struct image *image, struct effects *fx)
{
    image_unlock(image);
    image_do(image, fx);
}
