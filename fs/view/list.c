/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings. A cookie is the place of a row, which the one that takes its name over has, too: a listing goes on where it was, whatever came, went
 * and was replaced, and under another worker. No state.
 */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <stdlib.h>

#include "image/digest.h"

enum { PAGE = 64, COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_ROWS = 3 };

/* glance/ has rooms, scratch files and rows, one behind the other: no row of a catalogue has so large a number, nor a file a larger one. */
#define COOKIE_SCRATCH (UINT64_C(1) << 60)
#define COOKIE_IMAGES (UINT64_C(1) << 61)

int view_list_ready(const struct view *v, uint64_t folder, struct waiter *w)
{
    const struct view_room *room = view_room(v, folder);
    bool listed = room != NULL && (room->content == CONTENT_IMAGES || room->content == CONTENT_GLANCE || room->content == CONTENT_NOVA);
    return listed ? engine_list(v->engine, w) : 0;
}

/* The folders and documents in FOLDER. False: the buffer is full. */
static bool list_rooms(const struct view *v, uint64_t folder, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    const struct view_room *room;
    size_t i = cookie < COOKIE_ROWS ? 0 : (size_t)(cookie - COOKIE_ROWS + 1);
    while ((room = view_room_next(v, folder, &i)) != NULL) {
        struct view_entry entry = {.node = room->node, .attr = {.st_ino = room->node, .st_mode = room->mode}};
        if (attributes)
            view_room_entry(v, room, &entry);
        if (!emit(context, room->name, &entry, i - 1 + COOKIE_ROWS))
            return false;
    }
    return true;
}

/* One of images/, under its NAME or another. BASE: the cookie of a row is its place and this. */
static bool emit_image(const struct view *v, struct image_row *row, const char *name, uint64_t base, bool attributes, view_emit_fn *emit, void *context)
{
    uint64_t node = node_make(KIND_IMAGE, row->row);
    struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0444}};
    bool waits = attributes && engine_lookup_waits(v->engine, row->name);
    if (attributes && row->meta.size != IMAGE_SIZE_UNKNOWN)
        view_image_entry(v, row, &entry);
    /* The kernel looks it up when somebody wants to know; and where a look-up is under way it would wait for the answer here, where no signal
     * ends that. */
    if (waits || (attributes && row->meta.size == IMAGE_SIZE_UNKNOWN))
        entry.node = 0;
    return emit(context, name, &entry, (uint64_t)row->place + base);
}

static int list_images(const struct view *v, enum catalogue_view which, const struct view_room *room, uint64_t base, uint64_t cookie, bool attributes,
                       view_emit_fn *emit, void *context)
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t after = cookie > base ? (int64_t)(cookie - base) : 0;
    bool more = true;
    int n = rows == NULL ? -ENOMEM : 1, r = 0;
    while (more && n > 0 && r == 0 && (n = catalogue_page(v->catalogue, which, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more && r == 0; i++) {
            struct digest hash;
            if (room->content == CONTENT_NOVA)
                r = digest_text(DIGEST_SHA1, rows[i].name, &hash);
            after = rows[i].place;
            if (r == 0)
                more = emit_image(v, &rows[i], room->content == CONTENT_NOVA ? hash.hex : rows[i].name, base, attributes, emit, context);
        }
    }
    free(rows);
    if (!more)
        return 0;
    if (n == 0 && which == CATALOGUE_IMAGES)
        n = engine_list_status(v->engine);
    return n < 0 ? n : r;
}

static int list_glance(const struct view *v, const struct view_room *room, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    bool more = cookie >= COOKIE_SCRATCH || list_rooms(v, room->node, cookie, attributes, emit, context);
    int r = 0;
    if (more && cookie < COOKIE_IMAGES)
        r = glance_list(v, room, COOKIE_SCRATCH, cookie, emit, context, &more);
    if (r < 0 || !more || room->content == CONTENT_SCRATCH)
        return r;
    return list_images(v, CATALOGUE_IMAGES, room, COOKIE_IMAGES, cookie, attributes, emit, context);
}

static int list_queued(const struct view *v, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct queue_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    bool more = true;
    if (rows == NULL)
        return -ENOMEM;
    while (more && (n = catalogue_queue_page(v->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more; i++) {
            uint64_t node = node_make(KIND_QUEUED, rows[i].row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0644}};
            if (attributes)
                view_queued_entry(v, &rows[i], &entry);
            more = emit(context, rows[i].name, &entry, (uint64_t)rows[i].row + COOKIE_ROWS);
            after = rows[i].row;
        }
    }
    free(rows);
    return more && n < 0 ? n : 0;
}

static int list_invalid(const struct view *v, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct invalid_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    bool more = true;
    if (rows == NULL)
        return -ENOMEM;
    while (more && (n = catalogue_invalid_page(v->catalogue, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && more; i++) {
            uint64_t node = node_make(KIND_INVALID, rows[i].row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0444}};
            if (attributes)
                view_document_entry(v, node, rows[i].when, &entry);
            more = emit(context, rows[i].name, &entry, (uint64_t)rows[i].place + COOKIE_ROWS);
            after = rows[i].place;
        }
    }
    free(rows);
    return more && n < 0 ? n : 0;
}

static int list_bootsets(const struct view *v, int64_t after, view_emit_fn *emit, void *context)
{
    struct image_row *rows;
    int n = engine_bootset_page(v->engine, after, &rows);
    if (n < 0)
        return n;
    for (int i = 0; i < n; i++) {
        struct view_entry entry;
        if (view_bootset_entry(v, &rows[i], &entry) == 0 && !emit(context, rows[i].name, &entry, (uint64_t)rows[i].row + COOKIE_ROWS))
            break;
    }
    free(rows);
    return 0;
}

/* "." and ".."; false: no room. */
static bool list_dots(const struct view_room *room, uint64_t cookie, view_emit_fn *emit, void *context)
{
    struct view_entry dot = {.node = room->node, .attr = {.st_ino = room->node, .st_mode = S_IFDIR}};
    struct view_entry up = {.node = room->parent, .attr = {.st_ino = room->parent, .st_mode = S_IFDIR}};
    return (cookie >= COOKIE_DOT || emit(context, ".", &dot, COOKIE_DOT)) &&
           (cookie >= COOKIE_DOTDOT || emit(context, "..", &up, COOKIE_DOTDOT));
}

int view_list(const struct view *v, uint64_t folder, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    const struct view_room *room = view_room(v, folder);
    if (room == NULL)
        return -ESTALE;
    if (!list_dots(room, cookie, emit, context))
        return 0;
    int64_t after = cookie < COOKIE_ROWS ? 0 : (int64_t)(cookie - COOKIE_ROWS);
    switch (room->content) {
    case CONTENT_NONE:
        list_rooms(v, folder, cookie, attributes, emit, context);
        return 0;
    case CONTENT_IMAGES:
    case CONTENT_NOVA:
        return list_images(v, CATALOGUE_IMAGES, room, COOKIE_ROWS, cookie, attributes, emit, context);
    case CONTENT_CACHED:
        return list_images(v, CATALOGUE_CACHED, room, COOKIE_ROWS, cookie, attributes, emit, context);
    case CONTENT_INCOMPLETE:
        return list_images(v, CATALOGUE_INCOMPLETE, room, COOKIE_ROWS, cookie, attributes, emit, context);
    case CONTENT_QUEUED:
        return list_queued(v, after, attributes, emit, context);
    case CONTENT_INVALID:
        return list_invalid(v, after, attributes, emit, context);
    case CONTENT_BOOTSETS:
        return list_bootsets(v, after, emit, context);
    case CONTENT_HANDED:
        return 0;
    case CONTENT_GLANCE:
    case CONTENT_SCRATCH:
        return list_glance(v, room, cookie, attributes, emit, context);
    }
    return -ENOTDIR;
}
