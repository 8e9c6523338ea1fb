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

int view_create(const struct view *v, uint64_t parent, const char *name, struct waiter *w, struct view_entry *ret)
{
    struct queue_row queued;
    if (parent != NODE_QUEUED)
        return -EPERM;
    if (!image_id_valid(name))
        return -ENOENT;
    int r = engine_queue(v->engine, name, w, &queued);
    return r == ENGINE_PARKED ? r : created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_create_result(const struct view *v, const char *name, int status, struct view_entry *ret)
{
    struct queue_row queued;
    int r = engine_queue_result(v->engine, name, status, &queued);
    return created(v, name, r == ENGINE_CACHED ? 1 : r, &queued, ret);
}

int view_unlink(const struct view *v, uint64_t parent, const char *name, struct waiter *w)
{
    switch (parent) {
    case NODE_CACHED:
        return engine_evict(v->engine, name);
    case NODE_QUEUED:
        return engine_unqueue(v->engine, name);
    case NODE_INCOMPLETE:
        return engine_drop(v->engine, name, w);
    case NODE_INVALID:
        return engine_forget_invalid(v->engine, name);
    default:
        return -EPERM;
    }
}

int view_rename(const struct view *v, uint64_t parent, const char *name, uint64_t new_parent, const char *new_name)
{
    if (parent != NODE_CACHED || new_parent != NODE_INVALID || strcmp(name, new_name) != 0)
        return -EPERM;
    return engine_quarantine(v->engine, name, "quarantined by hand (moved to invalid/)");
}
