/* SPDX-License-Identifier: Apache-2.0 */
/* The rooms of the view: what each folder is called, where it stands, and what its names are. A new one is a line here. No state. */
#include "config-auto.h"

#include <string.h>

#include "view/private.h"

const struct view_room view_rooms[] = {
    {"images", NODE_IMAGES, NODE_ROOT, S_IFDIR | 0555, CONTENT_IMAGES, SCRATCH_TOP, 0},
    {"cached", NODE_CACHED, NODE_ROOT, S_IFDIR | 0755, CONTENT_CACHED, SCRATCH_TOP, 0},
    {"queued", NODE_QUEUED, NODE_ROOT, S_IFDIR | 0755, CONTENT_QUEUED, SCRATCH_TOP, 0},
    {"incomplete", NODE_INCOMPLETE, NODE_ROOT, S_IFDIR | 0755, CONTENT_INCOMPLETE, SCRATCH_TOP, 0},
    {"invalid", NODE_INVALID, NODE_ROOT, S_IFDIR | 0755, CONTENT_INVALID, SCRATCH_TOP, 0},
    {"bootsets", NODE_BOOTSETS, NODE_ROOT, S_IFDIR | 0755, CONTENT_BOOTSETS, SCRATCH_TOP, 0},
    {".status", NODE_STATUS, NODE_ROOT, S_IFREG | 0444, CONTENT_NONE, SCRATCH_TOP, 0},
    {".handed", NODE_HANDED, NODE_ROOT, S_IFDIR | 0700, CONTENT_HANDED, SCRATCH_TOP, 0},
    {"glance", NODE_GLANCE, NODE_ROOT, S_IFDIR | 0755, CONTENT_GLANCE, SCRATCH_TOP, VIEW_GLANCE},
    {"queue", NODE_GLANCE_QUEUE, NODE_GLANCE, S_IFDIR | 0755, CONTENT_QUEUED, SCRATCH_TOP, VIEW_GLANCE},
    {"incomplete", NODE_GLANCE_INCOMPLETE, NODE_GLANCE, S_IFDIR | 0755, CONTENT_SCRATCH, SCRATCH_INCOMPLETE, VIEW_GLANCE},
    {"invalid", NODE_GLANCE_INVALID, NODE_GLANCE, S_IFDIR | 0755, CONTENT_SCRATCH, SCRATCH_INVALID, VIEW_GLANCE},
    /* What is done there has no effect, whoever does it: nova removes what it takes for its own, as a user of its own. */
    {"nova", NODE_NOVA, NODE_ROOT, S_IFDIR | 0777, CONTENT_NOVA, SCRATCH_TOP, VIEW_NOVA},
};
const size_t view_room_count = sizeof(view_rooms) / sizeof(view_rooms[0]);

static bool is_shown(const struct view *v, const struct view_room *room)
{
    return room->view == 0 || (v->views & room->view) != 0;
}

const struct view_room *view_room(const struct view *v, uint64_t node)
{
    static const struct view_room root = {"", NODE_ROOT, NODE_ROOT, S_IFDIR | 0555, CONTENT_NONE, SCRATCH_TOP, 0};
    if (node == NODE_ROOT)
        return &root;
    for (size_t i = 0; i < view_room_count; i++) {
        if (view_rooms[i].node == node)
            return is_shown(v, &view_rooms[i]) ? &view_rooms[i] : NULL;
    }
    return NULL;
}

const struct view_room *view_room_in(const struct view *v, uint64_t parent, const char *name)
{
    for (size_t i = 0; i < view_room_count; i++) {
        if (view_rooms[i].parent == parent && strcmp(view_rooms[i].name, name) == 0)
            return is_shown(v, &view_rooms[i]) ? &view_rooms[i] : NULL;
    }
    return NULL;
}

const struct view_room *view_room_next(const struct view *v, uint64_t parent, size_t *i)
{
    while (*i < view_room_count) {
        const struct view_room *room = &view_rooms[(*i)++];
        if (room->parent == parent && is_shown(v, room) && room->content != CONTENT_HANDED)
            return room;
    }
    return NULL;
}
