/* SPDX-License-Identifier: Apache-2.0 */
/* What touch, rm and mv do. No state. */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <string.h>

#include "image/id.h"

/* queued/NAME exists now, or need not. */
static int created(const struct view *v, const char *name, int r, const struct queue_row *queued, struct view_entry *ret)
{
    struct image_row row;
    if (r == 0) {
        view_queued_entry(v, queued, ret);
        return 0;
    }
    if (r < 0)
        return r;
    r = catalogue_find(v->catalogue, name, &row);
    if (r == 0)
        view_not_queued_entry(v, row.row, ret);
    return r;
}

/* Of an image that is known: nobody waits for the backend here. */
static int create_bootset(const struct view *v, const char *name, struct view_entry *ret)
{
    struct image_row row;
    int r = image_id_valid(name) ? catalogue_find(v->catalogue, name, &row) : -ENOENT;
    if (r == 0)
        view_new_bootset_entry(v, row.row, ret);
    return r;
}

static int begin_handed(const struct view *v, const char *name, struct view_entry *ret)
{
    uint64_t number;
    int r = engine_hand_begin(v->engine, name, &number);
    if (r == 0)
        view_handed_entry(v, number, 0, ret);
    return r;
}

int view_create(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    const struct view_room *room = view_room(v, parent);
    struct queue_row queued;
    if (room != NULL && (room->content == CONTENT_GLANCE || room->content == CONTENT_SCRATCH))
        return glance_create(v, room, name, ret);
    if (room != NULL && room->content == CONTENT_BOOTSETS)
        return create_bootset(v, name, ret);
    if (room == NULL || (room->content != CONTENT_QUEUED && room->content != CONTENT_HANDED))
        return -EPERM;
    if (!image_id_valid(name))
        return -ENOENT;
    if (room->content == CONTENT_HANDED)
        return begin_handed(v, name, ret);
    int r = engine_queue(v->engine, name, w, &queued);
    return r == ENGINE_PARKED ? r : created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_create_result(const struct view *v, const char *name, int status, struct view_entry *ret)
{
    struct queue_row queued;
    int r = engine_queue_result(v->engine, name, status, &queued);
    return created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_write_bootset(const struct view *v, uint64_t node, const char *text, size_t length)
{
    struct image_row row;
    int r = catalogue_get(v->catalogue, node_row(node), &row);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    return engine_bootset_put(v->engine, row.name, text, length);
}

int view_unlink(const struct view *v, uint64_t parent, const char *name, struct waiter *w)
{
    const struct view_room *room = view_room(v, parent);
    if (room == NULL || view_room_in(v, parent, name) != NULL)
        return -EPERM;
    switch (room->content) {
    case CONTENT_CACHED:
        return engine_evict(v->engine, name);
    case CONTENT_QUEUED:
        return engine_unqueue(v->engine, name);
    case CONTENT_INCOMPLETE:
        return engine_drop(v->engine, name, w);
    case CONTENT_INVALID:
        return engine_forget_invalid(v->engine, name);
    case CONTENT_BOOTSETS:
        return engine_bootset_remove(v->engine, name);
    case CONTENT_GLANCE:
    case CONTENT_SCRATCH:
        return glance_unlink(v, room, name, w);
    case CONTENT_NOVA: /* nova's manager of bases may take the name for gone; the cache decides by itself what it keeps */
        return 0;
    default:
        return -EPERM;
    }
}

int view_rename(const struct view *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name)
{
    const struct view_room *from = view_room(v, parent), *to = view_room(v, new_parent);
    if (from == NULL || to == NULL || view_room_in(v, parent, name) != NULL || view_room_in(v, new_parent, new_name) != NULL)
        return -EPERM;
    if ((from->content == CONTENT_GLANCE || from->content == CONTENT_SCRATCH) && (to->content == CONTENT_GLANCE || to->content == CONTENT_SCRATCH))
        return glance_rename(v, from, name, to, new_name);
    if (from->content == CONTENT_HANDED && to->content == CONTENT_CACHED && strcmp(name, new_name) == 0)
        return engine_hand_over(v->engine, name);
    if (from->content != CONTENT_CACHED || to->content != CONTENT_INVALID || strcmp(name, new_name) != 0)
        return -EPERM;
    return engine_quarantine(v->engine, name, "quarantined by hand (moved to invalid/)");
}

int view_sync_folder(const struct view *v, uint64_t folder)
{
    const struct view_room *room = view_room(v, folder);
    bool scratch = room != NULL && (room->content == CONTENT_GLANCE || room->content == CONTENT_SCRATCH);
    return scratch && v->scratch != NULL ? scratch_sync_folder(v->scratch, room->place) : 0;
}
