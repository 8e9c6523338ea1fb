/* SPDX-License-Identifier: Apache-2.0 */
/* GET /status: all that the status page shows, in one document; with ?brief=1 without the lists of images. No state. */
#include "config-auto.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/cache/mount.h"
#include "api/calls/history.h"
#include "api/http/api.h"
#include "base/json_text.h"
#include "common/troubles.h"

enum { TAG_MAX = 24 };
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

/* Of many cached images those used last, the one used longest ago first. */
struct recent {
    const char *mount;
    size_t count;
    struct {
        char *name;
        double accessed;
    } image[SHOWN_MAX];
};

static bool take_recent(void *context, const char *id)
{
    struct recent *r = context;
    struct facts f;
    if (mount_facts(r->mount, FOLDER_CACHED, id, 0, &f) < 0 || (r->count == SHOWN_MAX && f.accessed <= r->image[0].accessed))
        return true;
    char *name = strdup(id);
    size_t place = 0;
    if (name == NULL)
        return true;
    if (r->count == SHOWN_MAX) {
        free(r->image[0].name);
        memmove(&r->image[0], &r->image[1], --r->count * sizeof(r->image[0]));
    }
    while (place < r->count && r->image[place].accessed <= f.accessed)
        place++;
    memmove(&r->image[place + 1], &r->image[place], (r->count - place) * sizeof(r->image[0]));
    r->image[place].name = name;
    r->image[place].accessed = f.accessed;
    r->count++;
    return true;
}

static void add_cached(struct list *l, const char *id)
{
    struct facts f;
    if (mount_facts(l->r->api->mount, FOLDER_CACHED, id, FACT_HITS | FACT_PINNED | FACT_NAME, &f) == 0)
        add(l, json_pack("{s:o, s:o, s:o, s:I, s:I, s:f, s:f, s:b}", "image", json_text(id), "id", json_text(id), "name", name_of(&f), "size", (json_int_t)f.size,
                         "hits", (json_int_t)f.hits, "last_accessed", f.accessed, "last_modified", f.modified, "pinned", f.pinned));
}

static json_t *cached(const struct request *r)
{
    struct list l = {.r = r, .entries = json_array()};
    struct recent *recent = calloc(1, sizeof(*recent));
    if (recent == NULL)
        return l.entries;
    recent->mount = r->api->mount;
    mount_each(r->api->mount, FOLDER_CACHED, take_recent, recent);
    while (recent->count-- > 0) {
        add_cached(&l, recent->image[recent->count].name);
        free(recent->image[recent->count].name);
    }
    free(recent);
    return l.entries;
}

static bool take_incomplete(void *context, const char *id)
{
    struct list *l = context;
    struct facts f;
    if (mount_facts(l->r->api->mount, FOLDER_INCOMPLETE, id, FACT_MAP | FACT_NAME, &f) < 0)
        return true;
    return add(l, json_pack("{s:o, s:o, s:o, s:I, s:I, s:f, s:s}", "image", json_text(id), "id", json_text(id), "name", name_of(&f), "size", (json_int_t)f.size,
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

/*
 * An entity tag of all but what changes by itself, the room on the disk and the samples of the last hour: a page that asks every two seconds
 * gets the lists anew only when something happened. FNV-1a; nothing is trusted to it but that. "": no memory.
 */
static void make_tag(json_t *document, char ret[TAG_MAX])
{
    json_t *copy = json_copy(document), *cache = json_copy(json_object_get(document, "cache")), *space = json_copy(json_object_get(cache, "space"));
    uint64_t hash = UINT64_C(14695981039346656037);
    json_object_del(space, "disk_available");
    json_object_set_new(cache, "space", space);
    json_object_set_new(copy, "cache", cache);
    json_object_del(copy, "history");
    char *text = copy != NULL ? json_dumps(copy, JSON_COMPACT | JSON_REAL_PRECISION(16)) : NULL;
    json_decref(copy);
    ret[0] = '\0';
    for (const char *c = text; c != NULL && *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(1099511628211);
    if (text != NULL)
        snprintf(ret, TAG_MAX, "W/\"%016llx\"", (unsigned long long)hash);
    free(text);
}

enum MHD_Result status_show(struct request *r)
{
    json_t *status = NULL;
    char brief[8], host[HOST_NAME_MAX + 1] = "";
    int error = mount_status(r->api->mount, &status);
    if (error < 0)
        return reply_errno(r, error, "read the status of the cache");
    history_sample(r->api->history, status);
    gethostname(host, sizeof(host) - 1);
    json_t *document = json_pack("{s:s, s:o, s:b, s:o, s:o}", "mount", r->api->mount, "host", json_text(host), "may_manage", r->who.admin,
                                 "troubles", troubles_of(status), "cache", status);
    if (document == NULL || request_argument(r, "brief", brief, sizeof(brief)) != 0)
        return reply_json(r, 200, document);
    json_t *lists = json_pack("{s:i, s:o, s:o, s:o, s:o, s:o}",
        "shown_at_most", SHOWN_MAX, "cached", cached(r), "incomplete", entries(r, FOLDER_INCOMPLETE, take_incomplete),
        "queued", entries(r, FOLDER_QUEUED, take_queued), "invalid", entries(r, FOLDER_INVALID, take_invalid),
        "history", history_document(r->api->history));
    json_object_update(document, lists);
    json_decref(lists);
    char tag[TAG_MAX];
    make_tag(document, tag);
    return reply_json_tagged(r, document, tag);
}
