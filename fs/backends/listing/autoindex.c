/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nginx's `autoindex_format json`: an array of flat objects, one of which is held in memory at a time. No lock: a parser belongs to one
 * thread.
 */
#include "config-auto.h"

#include "backends/listing/listing.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "backends/listing/objects.h"
#include "image/id.h"

struct autoindex {
    struct listing base;
    struct objects *objects;
};

/* nginx says "type": "file", "directory" or "other"; Caddy "is_dir". */
static bool is_file(const json_t *object)
{
    const json_t *type = json_object_get(object, "type");
    if (json_is_string(type))
        return strcmp(json_string_value(type), "file") == 0;
    return !json_is_true(json_object_get(object, "is_dir"));
}

static int on_object(void *context, const json_t *object)
{
    struct autoindex *a = context;
    const json_t *size = json_object_get(object, "size");
    struct listed_image image = {
        .name = json_string_value(json_object_get(object, "name")),
        .size = json_is_integer(size) && json_integer_value(size) >= 0 ? (uint64_t) json_integer_value(size)
                                                                        : IMAGE_SIZE_UNKNOWN,
    };
    if (!image.name)
        return -EPROTO;
    return is_file(object) && image_id_valid(image.name) ? a->base.fn(a->base.context, &image) : 0;
}

static int autoindex_feed(struct listing *l, const void *data, size_t length)
{
    return objects_feed(((struct autoindex *) l)->objects, data, length);
}

static int autoindex_end(struct listing *l, const char **ret_marker)
{
    (void) ret_marker;
    return objects_ended(((struct autoindex *) l)->objects) ? 0 : -EPROTO;
}

static void autoindex_free(struct listing *l)
{
    struct autoindex *a = (struct autoindex *) l;
    objects_free(a->objects);
    free(a);
}

int listing_new_autoindex(listing_fn *fn, void *context, struct listing **ret)
{
    /* A name in another encoding is legal on a file server; it cannot be told, but the other names can. */
    static const struct objects_ops ops = { .any_text = true, .object = on_object };
    struct autoindex *a = calloc(1, sizeof(*a));
    if (!a)
        return -ENOMEM;
    a->base = (struct listing){ autoindex_feed, autoindex_end, autoindex_free, fn, context, NULL };
    int r = objects_new(&ops, a, &a->objects);
    if (r < 0) {
        free(a);
        return r;
    }
    *ret = &a->base;
    return 0;
}
