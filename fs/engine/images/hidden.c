/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of an image is not in the kernel's cache any more: what arrived meanwhile may be read. */
#include "config-auto.h"

#include <stdlib.h>

#include "engine/images/images.h"

/* On the fetch thread: the tail is not in the kernel's cache any more. */
static void tail_is_hidden(void *context)
{
    struct hiding *h = context;
    struct image *image = image_find(h->engine, h->row);
    if (image != NULL) {
        image_lock(image);
        if (image->hiding == h) { /* and not one that was loaded since */
            image->hiding = NULL;
            chunkmap_free(image->given);
            image->given = NULL;
            image_changed_locked(image);
        }
        image_unlock(image);
        image_put(image);
    }
    free(h);
}

void image_tail_hidden(void *context)
{
    struct hiding *h = context;
    if (!transfers_tell(h->engine->transfers, tail_is_hidden, h))
        free(h);
}
