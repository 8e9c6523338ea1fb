/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes of images: user.glance.*. One table names them all. */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "view/view.h"

enum { VALUE_MAX = 512 };

/* Writes the value of an attribute; false: this image has none. */
typedef bool value_fn(const struct view *v, const struct image_row *row, char value[VALUE_MAX]);

static bool put(char value[VALUE_MAX], const char *text)
{
    snprintf(value, VALUE_MAX, "%s", text);
    return text[0] != '\0';
}

static bool hits(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return snprintf(value, VALUE_MAX, "%" PRIu64, row->hits) > 0;
}

static bool state(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return put(value, image_state_name(row->state));
}

static bool bytes_cached(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return snprintf(value, VALUE_MAX, "%" PRIu64, row->bytes) > 0;
}

static bool checksum(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return row->meta.digest.algorithm == DIGEST_MD5 && put(value, row->meta.digest.hex);
}

static bool os_hash_algo(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return row->meta.digest.algorithm != DIGEST_NONE && row->meta.digest.algorithm != DIGEST_MD5 &&
           put(value, digest_algorithm_name(row->meta.digest.algorithm));
}

static bool os_hash_value(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    char algorithm[VALUE_MAX];
    return os_hash_algo(v, row, algorithm) && put(value, row->meta.digest.hex);
}

static bool etag(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return put(value, row->meta.etag);
}

static bool error(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    struct invalid_row invalid;
    if (row->error[0] == '\0' && row->state != IMAGE_COMPLETE && catalogue_invalid_find(v->catalogue, row->name, &invalid) == 0)
        return put(value, invalid.reason);
    return put(value, row->error);
}

static bool open_handles(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    return snprintf(value, VALUE_MAX, "%u", engine_handles(v->engine, row->row)) > 0;
}

static bool pinned(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return put(value, row->pinned ? "1" : "0");
}

static bool map(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    return row->state == IMAGE_PARTIAL && engine_map(v->engine, row->row, value) == 0;
}

/* Partial: when bytes of it came last; complete: when it became that. Seconds since 1970. */
static bool last_progress(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    int64_t when = row->last_modified;
    return row->state != IMAGE_KNOWN && when > 0 &&
           snprintf(value, VALUE_MAX, "%" PRIi64 ".%09" PRIi64, when / NS_PER_S, when % NS_PER_S) > 0;
}

static bool title(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return put(value, row->meta.title);
}

static bool disk_format(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return put(value, row->meta.disk_format);
}

/* Of its boot set: bytes, spans, boots. */
static bool bootset(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    char *text = malloc(BOOTSET_TEXT_MAX + 1);
    struct bootset *set = malloc(sizeof(*set));
    unsigned line;
    int length = text == NULL || set == NULL ? -ENOMEM : engine_bootset_text(v->engine, row->name, text);
    bool there = length > 0 && bootset_parse(text, (size_t)length, set, &line) == 0;
    if (there)
        snprintf(value, VALUE_MAX, "bytes=%" PRIu64 " spans=%zu boots=%u", bootset_bytes(set), set->count, set->boots);
    free(set);
    free(text);
    return there;
}

static bool virtual_size(const struct view *v, const struct image_row *row, char value[VALUE_MAX])
{
    (void)v;
    return row->meta.virtual_size > 0 && snprintf(value, VALUE_MAX, "%" PRIu64, row->meta.virtual_size) > 0;
}

static const struct attribute { const char *name; value_fn *value; } ATTRIBUTES[] = {
    {"user.glance.state", state},
    {"user.glance.hits", hits},
    {"user.glance.bytes_cached", bytes_cached},
    {"user.glance.checksum", checksum},
    {"user.glance.os_hash_algo", os_hash_algo},
    {"user.glance.os_hash_value", os_hash_value},
    {"user.glance.etag", etag},
    {"user.glance.error", error},
    {"user.glance.open", open_handles},
    {"user.glance.pinned", pinned},
    {"user.glance.map", map},
    {"user.glance.last_progress", last_progress},
    {"user.glance.name", title},
    {"user.glance.disk_format", disk_format},
    {"user.glance.bootset", bootset},
    {"user.glance.virtual_size", virtual_size},
};
enum { COUNT = sizeof(ATTRIBUTES) / sizeof(ATTRIBUTES[0]) };

/* glance/: what Glance's xattr driver calls it. It is counted by us, and not listed a second time. */
static const char GLANCE_HITS[] = "user.hits";
static const struct attribute glance_hits = {GLANCE_HITS, hits};

static bool is_glance_hits(const struct view *v, const char *name)
{
    return (v->views & VIEW_GLANCE) != 0 && strcmp(name, GLANCE_HITS) == 0;
}

static const struct attribute *find(const struct view *v, const char *name)
{
    if (is_glance_hits(v, name))
        return &glance_hits;
    for (int i = 0; i < COUNT; i++) {
        if (strcmp(ATTRIBUTES[i].name, name) == 0)
            return &ATTRIBUTES[i];
    }
    return NULL;
}

static int get_row(const struct view *v, uint64_t node, struct image_row *ret)
{
    int r = catalogue_get(v->catalogue, node_row(node), ret);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    engine_refresh(v->engine, ret);
    return 0;
}

int view_getxattr(const struct view *v, uint64_t node, const char *name, char *buffer, size_t size)
{
    const struct attribute *attribute = find(v, name);
    struct image_row row;
    char value[VALUE_MAX];

    if (strncmp(name, "user.", 5) != 0) /* no ACLs, no labels: said so, `ls -l` asks once and not for every file */
        return -EOPNOTSUPP;
    if (node_kind(node) != KIND_IMAGE || attribute == NULL)
        return -ENODATA;
    int r = get_row(v, node, &row);
    if (r < 0)
        return r;
    if (!attribute->value(v, &row, value))
        return -ENODATA;
    size_t length = strlen(value);
    if (size > 0 && length > size)
        return -ERANGE;
    if (size > 0)
        memcpy(buffer, value, length);
    return (int)length;
}

int view_listxattr(const struct view *v, uint64_t node, char *buffer, size_t size)
{
    struct image_row row;
    char value[VALUE_MAX];
    size_t length = 0;

    if (node_kind(node) != KIND_IMAGE)
        return 0;
    int r = get_row(v, node, &row);
    if (r < 0)
        return r;
    for (int i = 0; i < COUNT; i++) {
        size_t n = strlen(ATTRIBUTES[i].name) + 1;
        if (!ATTRIBUTES[i].value(v, &row, value))
            continue;
        if (size > 0 && length + n > size)
            return -ERANGE;
        if (size > 0)
            memcpy(buffer + length, ATTRIBUTES[i].name, n);
        length += n;
    }
    return (int)length;
}

int view_setxattr(const struct view *v, uint64_t node, const char *name, const char *value, size_t size)
{
    if (strncmp(name, "user.", 5) != 0)
        return -EOPNOTSUPP;
    if (node_kind(node) == KIND_IMAGE && is_glance_hits(v, name))
        return 0; /* it adds to what it read, for an open that we counted */
    if (node_kind(node) != KIND_IMAGE || strcmp(name, "user.glance.pinned") != 0)
        return -EPERM;
    while (size > 0 && (value[size - 1] == '\n' || value[size - 1] == '\0'))
        size--;
    if (size > 1 || (size == 1 && value[0] != '0' && value[0] != '1'))
        return -EINVAL;
    int r = catalogue_set_pinned(v->catalogue, node_row(node), size == 1 && value[0] == '1');
    return r == -ENOENT ? -ESTALE : r;
}
