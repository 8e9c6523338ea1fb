/* SPDX-License-Identifier: Apache-2.0 */
/* A look over the mount. Of many cached images only those read last are looked at closely: attributes cost a call each. */
#include "config-auto.h"

#include "top/look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "common/folder.h"

enum { RECENT = 4 * LOOK_IMAGES };

/* The images read last, in the order of their times, oldest first. */
struct recent {
    int folder;
    size_t count;
    struct {
        char name[256];
        struct folder_entry entry;
    } image[RECENT];
};

static int take_recent(void *context, const char *name)
{
    struct recent *r = context;
    struct folder_entry entry;
    if (strlen(name) >= sizeof(r->image[0].name) || folder_stat(r->folder, name, false, &entry) < 0)
        return 0;
    if (r->count == RECENT && entry.accessed <= r->image[0].entry.accessed)
        return 0;
    size_t place = 0;
    if (r->count == RECENT) /* the oldest goes */
        memmove(&r->image[0], &r->image[1], --r->count * sizeof(r->image[0]));
    while (place < r->count && r->image[place].entry.accessed <= entry.accessed)
        place++;
    memmove(&r->image[place + 1], &r->image[place], (r->count - place) * sizeof(r->image[0]));
    snprintf(r->image[place].name, sizeof(r->image[place].name), "%s", name);
    r->image[place].entry = entry;
    r->count++;
    return 0;
}

static uint64_t attribute(const struct cache_mount *mount, const char *name, const char *key)
{
    char text[64];
    return cache_mount_attribute(mount, "cached", name, key, text, sizeof(text)) < 0 ? 0 : strtoull(text, NULL, 10);
}

static int by_use(const void *a, const void *b)
{
    const json_t *left = *(json_t *const *)a, *right = *(json_t *const *)b;
    json_int_t open = json_integer_value(json_object_get(right, "open")) - json_integer_value(json_object_get(left, "open"));
    double read = json_number_value(json_object_get(right, "last_accessed")) - json_number_value(json_object_get(left, "last_accessed"));
    return open != 0 ? (open > 0 ? 1 : -1) : read > 0 ? 1 : read < 0 ? -1 : 0;
}

json_t *look_busiest(json_t *list)
{
    size_t n = json_array_size(list);
    json_t **images = calloc(n + 1, sizeof(*images)), *best = json_array();
    if (images == NULL || best == NULL) {
        free(images);
        json_decref(best);
        return list;
    }
    for (size_t i = 0; i < n; i++)
        images[i] = json_array_get(list, i);
    qsort(images, n, sizeof(*images), by_use);
    for (size_t i = 0; i < n && i < LOOK_IMAGES; i++)
        json_array_append(best, images[i]);
    free(images);
    json_decref(list);
    return best;
}

static json_t *busiest(const struct cache_mount *mount)
{
    json_t *list = json_array();
    struct recent *r = calloc(1, sizeof(*r));
    if (r == NULL || cache_mount_folder(mount, "cached", &r->folder) < 0) {
        free(r);
        return list;
    }
    folder_each(mount, "cached", take_recent, r);
    for (size_t i = r->count; i-- > 0;) {
        const struct folder_entry *entry = &r->image[i].entry;
        const char *name = r->image[i].name;
        json_array_append_new(list, json_pack("{s:o, s:I, s:I, s:I, s:f, s:b}", "image", json_text(name), "size", (json_int_t)entry->size,
                                              "open", (json_int_t)attribute(mount, name, "open"), "hits",
                                              (json_int_t)attribute(mount, name, "hits"), "last_accessed",
                                              (double)entry->accessed / (double)NS_PER_S, "pinned", attribute(mount, name, "pinned") != 0));
    }
    close(r->folder);
    free(r);
    return look_busiest(list);
}

struct invalid {
    const struct cache_mount *mount;
    json_t *list;
};

static int take_invalid(void *context, const char *name)
{
    struct invalid *v = context;
    json_t *document = NULL;
    if (cache_mount_document(v->mount, "invalid", name, &document) < 0)
        return 0;
    json_object_set_new(document, "image", json_text(name));
    json_array_append_new(v->list, document);
    return json_array_size(v->list) >= LOOK_INVALID;
}

int look_at_mount(const struct cache_mount *mount, json_t **ret)
{
    json_t *status = NULL;
    int r = cache_mount_status(mount, &status);
    if (r < 0)
        return r;
    struct invalid invalid = {.mount = mount, .list = json_array()};
    if (cache_status_number(status, "images", "invalid") > 0)
        folder_each(mount, "invalid", take_invalid, &invalid);
    *ret = json_pack("{s:s, s:f, s:o, s:o, s:o}", "where", mount->path, "time", (double)clock_now() / (double)NS_PER_S, "cache", status,
                     "busiest", busiest(mount), "invalid", invalid.list);
    return *ret == NULL ? -ENOMEM : 0;
}
