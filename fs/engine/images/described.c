/* SPDX-License-Identifier: Apache-2.0 */
/* Which version an image is, learned from the first answer for its bytes, into the catalogue. */
#include "config-auto.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "engine/images/image.h"

int image_write_version(struct image *image)
{
    image_lock(image);
    bool needed = image->described == 0 && (image->meta.etag[0] != '\0' || image->meta.modified[0] != '\0');
    struct image_meta meta = image->meta;
    image_unlock(image);
    if (!needed)
        return 0;
    int64_t now = clock_now();
    int r = catalogue_describe(image->engine->catalogue, image->row, &meta, now);
    if (r < 0)
        return r == -ESTALE ? 0 : log_errno(r, "%s: which version it is could not be written to the catalogue", image->name);
    image_lock(image);
    /* What an answer told meanwhile is still to be written. */
    if (strcmp(image->meta.etag, meta.etag) == 0 && strcmp(image->meta.modified, meta.modified) == 0)
        image->described = now;
    image_unlock(image);
    return 0;
}
