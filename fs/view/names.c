/* SPDX-License-Identifier: Apache-2.0 */
/* Names: what is looked up in each folder. No state. */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <string.h>

#include "image/id.h"

static int lookup_root(const struct view *v, const char *name, struct view_entry *ret)
{
    for (int i = 0; i < VIEW_FIXED; i++) {
        if (strcmp(view_fixed[i].name, name) == 0) {
            view_fixed_entry(v, &view_fixed[i], ret);
            return 0;
        }
    }
    return -ENOENT;
}

static int lookup_state(const struct view *v, const char *name, enum image_state state, struct view_entry *ret)
{
    struct image_row row;
    int r = catalogue_find(v->catalogue, name, &row);
    if (r == 0 && row.state != state)
        return -ENOENT;
    if (r == 0)
        view_image_entry(v, &row, ret);
    return r;
}

static int lookup_queued(const struct view *v, const char *name, struct view_entry *ret)
{
    struct queue_row row;
    int r = catalogue_queue_find(v->catalogue, name, &row);
    if (r == 0)
        view_queued_entry(v, &row, ret);
    return r;
}

static int lookup_invalid(const struct view *v, const char *name, struct view_entry *ret)
{
    struct invalid_row row;
    int r = catalogue_invalid_find(v->catalogue, name, &row);
    if (r == 0)
        view_document_entry(v, node_make(KIND_INVALID, row.row), row.when, ret);
    return r;
}

int view_lookup(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    struct image_row row;
    int r;

    if (parent == NODE_ROOT)
        return lookup_root(v, name, ret);
    if (!image_id_valid(name))
        return -ENOENT;
    switch (parent) {
    case NODE_IMAGES:
        r = engine_lookup(v->engine, name, w, &row);
        if (r == 0)
            view_image_entry(v, &row, ret);
        return r;
    case NODE_CACHED:
        return lookup_state(v, name, IMAGE_COMPLETE, ret);
    case NODE_INCOMPLETE:
        return lookup_state(v, name, IMAGE_PARTIAL, ret);
    case NODE_QUEUED:
        return lookup_queued(v, name, ret);
    case NODE_INVALID:
        return lookup_invalid(v, name, ret);
    default:
        return -ENOTDIR;
    }
}

int view_lookup_result(const struct view *v, const char *name, int status, struct view_entry *ret)
{
    struct image_row row;
    int r = engine_lookup_result(v->engine, name, status, &row);
    if (r == 0)
        view_image_entry(v, &row, ret);
    return r;
}
