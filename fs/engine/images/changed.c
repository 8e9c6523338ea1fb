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
    pthread_mutex_lock(&image->lock);
    image_changed_locked(image);
    pthread_mutex_unlock(&image->lock);
}
