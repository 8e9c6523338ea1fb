/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings. A cookie is the place of a row, which the one that takes its name over has, too: a listing goes on where it was, whatever came, went
 * and was replaced, and under another worker. No state.
 */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <stdlib.h>

enum { PAGE = 64, COOKIE_DOT = 1, COOKIE_DOTDOT = 2, COOKIE_ROWS = 3 };

int view_list_ready(const struct view *v, uint64_t folder, struct waiter *w)
{
    return folder == NODE_IMAGES ? engine_list(v->engine, w) : 0;
}

static int list_root(const struct view *v, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    for (uint64_t i = cookie < COOKIE_ROWS ? 0 : cookie - COOKIE_ROWS + 1; i < VIEW_FIXED; i++) {
        struct view_entry entry = {.node = view_fixed[i].node, .attr = {.st_ino = view_fixed[i].node, .st_mode = view_fixed[i].mode}};
        if (attributes)
            view_fixed_entry(v, &view_fixed[i], &entry);
        if (!emit(context, view_fixed[i].name, &entry, i + COOKIE_ROWS))
            break;
    }
    return 0;
}

static int list_images(const struct view *v, enum catalogue_view which, int64_t after, bool attributes, view_emit_fn *emit, void *context)
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int n;
    if (rows == NULL)
        return -ENOMEM;
    while ((n = catalogue_page(v->catalogue, which, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n; i++) {
            struct image_row *row = &rows[i];
            uint64_t node = node_make(KIND_IMAGE, row->row);
            struct view_entry entry = {.node = node, .attr = {.st_ino = node, .st_mode = S_IFREG | 0444}};
            if (attributes && row->meta.size != IMAGE_SIZE_UNKNOWN)
                view_image_entry(v, row, &entry);
            else if (attributes)
                entry.node = 0; /* the kernel looks it up when somebody wants to know */
            if (!emit(context, row->name, &entry, (uint64_t)row->place + COOKIE_ROWS)) {
                free(rows);
                return 0;
            }
            after = row->place;
        }
    }
    free(rows);
    if (n == 0 && which == CATALOGUE_IMAGES)
        n = engine_list_status(v->engine);
    return n;
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

/* "." and "..", which are the root's business as well as ours; false: no room. */
static bool list_dots(const struct view *v, uint64_t folder, uint64_t cookie, view_emit_fn *emit, void *context)
{
    struct view_entry dot = {.node = folder, .attr = {.st_ino = folder, .st_mode = S_IFDIR}};
    struct view_entry up = {.node = NODE_ROOT, .attr = {.st_ino = NODE_ROOT, .st_mode = S_IFDIR}};
    (void)v;
    return (cookie >= COOKIE_DOT || emit(context, ".", &dot, COOKIE_DOT)) &&
           (cookie >= COOKIE_DOTDOT || emit(context, "..", &up, COOKIE_DOTDOT));
}

int view_list(const struct view *v, uint64_t folder, uint64_t cookie, bool attributes, view_emit_fn *emit, void *context)
{
    if (!list_dots(v, folder, cookie, emit, context))
        return 0;
    int64_t after = cookie < COOKIE_ROWS ? 0 : (int64_t)(cookie - COOKIE_ROWS);
    switch (folder) {
    case NODE_ROOT:
        return list_root(v, cookie, attributes, emit, context);
    case NODE_IMAGES:
        return list_images(v, CATALOGUE_IMAGES, after, attributes, emit, context);
    case NODE_CACHED:
        return list_images(v, CATALOGUE_CACHED, after, attributes, emit, context);
    case NODE_INCOMPLETE:
        return list_images(v, CATALOGUE_INCOMPLETE, after, attributes, emit, context);
    case NODE_QUEUED:
        return list_queued(v, after, attributes, emit, context);
    case NODE_INVALID:
        return list_invalid(v, after, attributes, emit, context);
    default:
        return -ENOTDIR;
    }
}
