/* SPDX-License-Identifier: Apache-2.0 */
/* Names: what is looked up in each folder. No state. */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <string.h>

#include "image/digest.h"
#include "image/id.h"

static int lookup_state(const struct view *v, const char *name, enum image_state state, struct view_entry *ret)
{
    struct image_row row;
    int r = image_id_valid(name) ? catalogue_find(v->catalogue, name, &row) : -ENOENT;
    if (r == 0 && row.state != state)
        return -ENOENT;
    if (r == 0)
        view_image_entry(v, &row, ret);
    return r;
}

static int lookup_queued(const struct view *v, const char *name, struct view_entry *ret)
{
    struct queue_row row;
    int r = image_id_valid(name) ? catalogue_queue_find(v->catalogue, name, &row) : -ENOENT;
    if (r == 0)
        view_queued_entry(v, &row, ret);
    return r;
}

static int lookup_invalid(const struct view *v, const char *name, struct view_entry *ret)
{
    struct invalid_row row;
    int r = image_id_valid(name) ? catalogue_invalid_find(v->catalogue, name, &row) : -ENOENT;
    if (r == 0)
        view_document_entry(v, node_make(KIND_INVALID, row.row), row.when, ret);
    return r;
}

static int lookup_bootset(const struct view *v, const char *name, struct view_entry *ret)
{
    struct image_row row;
    int r = image_id_valid(name) ? catalogue_find(v->catalogue, name, &row) : -ENOENT;
    return r < 0 ? r : view_bootset_entry(v, &row, ret);
}

static int lookup_image(const struct view *v, const char *name, struct waiter *w, struct view_entry *ret)
{
    struct image_row row;
    int r = image_id_valid(name) ? engine_lookup(v->engine, name, w, &row) : -ENOENT;
    if (r == 0)
        view_image_entry(v, &row, ret);
    return r;
}

static int lookup_glance(const struct view *v, const struct view_room *room, const char *name, struct waiter *w, struct view_entry *ret)
{
    int r = glance_find(v, room, name, ret);
    return r != -ENOENT || room->content == CONTENT_SCRATCH || glance_is_own_name(v, name) ? r : lookup_image(v, name, w, ret);
}

static int lookup_nova(const struct view *v, const char *hash, struct waiter *w, struct view_entry *ret)
{
    struct image_row row;
    int r = catalogue_find_hash(v->catalogue, hash, &row);
    return r < 0 ? r : lookup_image(v, row.name, w, ret);
}

static int lookup_handed(const struct view *v, const char *name, struct view_entry *ret)
{
    uint64_t number, size = 0;
    int r = engine_hand_find(v->engine, name, &number);
    if (r == 0)
        r = engine_hand_size(v->engine, number, &size);
    if (r == 0)
        view_handed_entry(v, number, size, ret);
    return r;
}

/* A hash says nothing to the backend: one that is not known yet is of an image that has yet to be listed. */
int view_lookup_ready(const struct view *v, uint64_t parent, const char *name, struct waiter *w)
{
    const struct view_room *room = view_room(v, parent);
    struct image_row row;
    if (room == NULL || room->content != CONTENT_NOVA || strlen(name) != digest_hex_length(DIGEST_SHA1))
        return 0;
    return catalogue_find_hash(v->catalogue, name, &row) == -ENOENT ? engine_list(v->engine, w) : 0;
}

int view_lookup(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    const struct view_room *room = view_room(v, parent), *inner = view_room_in(v, parent, name);
    if (inner != NULL) {
        view_room_entry(v, inner, ret);
        return 0;
    }
    switch (room == NULL ? CONTENT_NONE : room->content) {
    case CONTENT_NONE:
        return room == NULL ? -ESTALE : -ENOENT;
    case CONTENT_IMAGES:
        return lookup_image(v, name, w, ret);
    case CONTENT_CACHED:
        return lookup_state(v, name, IMAGE_COMPLETE, ret);
    case CONTENT_INCOMPLETE:
        return lookup_state(v, name, IMAGE_PARTIAL, ret);
    case CONTENT_QUEUED:
        return lookup_queued(v, name, ret);
    case CONTENT_INVALID:
        return lookup_invalid(v, name, ret);
    case CONTENT_BOOTSETS:
        return lookup_bootset(v, name, ret);
    case CONTENT_GLANCE:
    case CONTENT_SCRATCH:
        return lookup_glance(v, room, name, w, ret);
    case CONTENT_NOVA:
        return lookup_nova(v, name, w, ret);
    case CONTENT_HANDED:
        return lookup_handed(v, name, ret);
    }
    return -ENOENT;
}

int view_lookup_result(const struct view *v, uint64_t parent, const char *name, int status, struct view_entry *ret)
{
    const struct view_room *room = view_room(v, parent);
    struct image_row row;
    int r = 0;
    if (room != NULL && room->content == CONTENT_NOVA)
        r = catalogue_find_hash(v->catalogue, name, &row);
    if (r == 0)
        r = engine_lookup_result(v->engine, room != NULL && room->content == CONTENT_NOVA ? row.name : name, status, &row);
    if (r == 0)
        view_image_entry(v, &row, ret);
    return r;
}
