/* SPDX-License-Identifier: Apache-2.0 */
/* Which parts of a partial image are here, drawn as text for those who watch. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "engine/engine.h"
#include "engine/images/images.h"

static void draw_map(const struct chunkmap *map, char *text)
{
    uint64_t chunks = chunkmap_chunks(map), parts = chunks < ENGINE_MAP_PARTS ? chunks : ENGINE_MAP_PARTS;
    for (uint64_t p = 0; p < parts; p++) {
        uint64_t from = p * chunks / parts, to = (p + 1) * chunks / parts, here = 0;
        for (uint64_t c = from; c < to; c++)
            here += chunkmap_test(map, c);
        uint64_t level = here * 15 / (to - from);
        text[p] = "0123456789abcdef"[level == 0 && here > 0 ? 1 : level];
    }
    text[parts] = '\0';
}

/* The map of the catalogue, as of the last checkpoint, for an image that nobody uses. */
static int draw_stored_map(struct engine *e, int64_t row, char *text)
{
    struct image_row r;
    void *bits = NULL;
    size_t length = 0;
    struct chunkmap *map = NULL;
    int error = catalogue_get(e->catalogue, row, &r);
    if (error == 0 && r.state != IMAGE_PARTIAL)
        error = -ENOENT;
    if (error == 0)
        error = catalogue_load_map(e->catalogue, row, &bits, &length);
    if (error == 0)
        error = chunkmap_load(r.meta.size, bits, length, &map);
    if (error == 0)
        draw_map(map, text);
    chunkmap_free(map);
    free(bits);
    return error == -ENOENT ? -ENODATA : error;
}

int engine_map(struct engine *e, int64_t row, char ret_text[ENGINE_MAP_PARTS + 1])
{
    struct image *image = image_find(e, row);
    if (image == NULL)
        return draw_stored_map(e, row, ret_text);
    image_lock(image);
    bool partial = image->state == IMAGE_PARTIAL && image->map != NULL;
    if (partial)
        draw_map(image->map, ret_text);
    image_unlock(image);
    image_put(image);
    return partial ? 0 : -ENODATA;
}
