/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status: all that the status page shows, in one document; with ?brief=1 without the lists of images. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/cache/mount.h"
#include "api/calls/history.h"
#include "api/http/api.h"
#include "base/json_text.h"

enum { SHOWN_MAX = 500 }; /* entries of each list; the page says when there are more */

struct list {
    const struct request *r;
    json_t *entries;
};

static json_t *name_of(const struct facts *f)
{
    return f->name[0] == '\0' ? json_null() : json_text(f->name);
}

static bool add(struct list *l, json_t *entry)
{
    return entry != NULL && json_array_append_new(l->entries, entry) == 0 && json_array_size(l->entries) < SHOWN_MAX;
}

static bool take_cached(void *context, const char *id)
{
    struct list *l = context;
    struct facts f;
    if (mount_facts(l->r->api->mount, FOLDER_CACHED, id, FACT_HITS | FACT_PINNED | FACT_NAME, &f) < 0)
        return true;
    return add(l, json_pack("{s:o, s:o, s:I, s:I, s:f, s:f, s:b}", "id", json_text(id), "name", name_of(&f), "size", (json_int_t)f.size,
                            "hits", (json_int_t)f.hits, "last_accessed", f.accessed, "last_modified", f.modified, "pinned", f.pinned));
}

static bool take_incomplete(void *context, const char *id)
{
    struct list *l = context;
    struct facts f;
    if (mount_facts(l->r->api->mount, FOLDER_INCOMPLETE, id, FACT_MAP | FACT_NAME, &f) < 0)
        return true;
    return add(l, json_pack("{s:o, s:o, s:I, s:I, s:f, s:s}", "id", json_text(id), "name", name_of(&f), "size", (json_int_t)f.size,
                            "bytes_cached", (json_int_t)f.bytes, "last_modified", f.modified, "map", f.map));
}

static bool take_document(struct list *l, enum mount_folder folder, const char *id)
{
    json_t *document = NULL;
    if (mount_document(l->r->api->mount, folder, id, &document) < 0)
        return true;
    json_object_set_new(document, "id", json_text(id));
    return add(l, document);
}

static bool take_queued(void *context, const char *id)
{
    return take_document(context, FOLDER_QUEUED, id);
}

static bool take_invalid(void *context, const char *id)
{
    return take_document(context, FOLDER_INVALID, id);
}

static json_t *entries(const struct request *r, enum mount_folder folder, mount_each_fn *each)
{
    struct list l = {.r = r, .entries = json_array()};
    mount_each(r->api->mount, folder, each, &l);
    return l.entries;
}

enum MHD_Result status_show(struct request *r)
{
    json_t *status = NULL;
    char brief[8];
    int error = mount_status(r->api->mount, &status);
    if (error < 0)
        return reply_errno(r, error, "read the status of the cache");
    history_sample(r->api->history, status);
    if (request_argument(r, "brief", brief, sizeof(brief)) != 0)
        return reply_json(r, 200, json_pack("{s:s, s:b, s:o}", "mount", r->api->mount, "may_manage", r->who.admin, "cache", status));
    return reply_json(r, 200, json_pack("{s:s, s:b, s:i, s:o, s:o, s:o, s:o, s:o, s:o}",
        "mount", r->api->mount, "may_manage", r->who.admin, "shown_at_most", SHOWN_MAX, "cache", status,
        "cached", entries(r, FOLDER_CACHED, take_cached), "incomplete", entries(r, FOLDER_INCOMPLETE, take_incomplete),
        "queued", entries(r, FOLDER_QUEUED, take_queued), "invalid", entries(r, FOLDER_INVALID, take_invalid),
        "history", history_document(r->api->history)));
}
