/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who changes an image says only that it did. What is to be done about it is looked for on the fetch thread, once for any number of such words.
 */
#include "config-auto.h"

#include "engine/images/images.h"

void image_changed_locked(struct image *image)
{
    struct engine *e = image->engine;
    if (image->attending)
        return;
    image->attending = true;
    image_ref(image);
    if (!transfers_tell(e->transfers, e->changed, image))
        atomic_fetch_sub(&image->refs, 1); /* the caller's own is still there */
}

void image_changed(struct image *image)
{
    image_lock(image);
    image_changed_locked(image);
    image_unlock(image);
}

void image_give_up(struct image *image, int status, const char *why)
{
    image_lock(image);
    image_set_error_locked(image, "%s", why);
    image->failure = status;
    image_changed_locked(image);
    image_unlock(image);
}
