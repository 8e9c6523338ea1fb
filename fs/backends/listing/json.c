/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings in JSON, of Glance and of Swift: images are told as their objects come, whatever the length of the page. No lock: a parser
 * belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/listing/objects.h"
#include "backends/listing/sums.h"
#include "image/id.h"

struct page {
    struct listing base;
    struct objects *objects;
    const char *prefix;
    char *const *not_images;
    bool may_be_empty; /* without as much as a list */
    bool more;         /* it says that there is another, behind last */
    char *last;        /* the name of the last one; NULL: none yet */
    size_t length;
};

static int page_feed(struct listing *l, const void *data, size_t length)
{
    struct page *p = (struct page *) l;
    if (length > LISTING_PAGE_MAX - p->length)
        return -EPROTO;
    p->length += length;
    return objects_feed(p->objects, data, length);
}

static int page_end(struct listing *l, const char **ret_marker)
{
    struct page *p = (struct page *) l;
    if (p->length == 0 && p->may_be_empty)
        return 0;
    if (!objects_ended(p->objects) || (p->more && !p->last))
        return -EPROTO;
    if (!p->more)
        return 0;
    *ret_marker = p->last;
    return 1;
}

static void page_free(struct listing *l)
{
    struct page *p = (struct page *) l;
    objects_free(p->objects);
    free(p->last);
    free(p);
}

static int page_new(const struct objects_ops *ops, listing_fn *fn, void *context, struct page **ret)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->base = (struct listing){ page_feed, page_end, page_free, fn, context, NULL };
    int r = objects_new(ops, p, &p->objects);
    if (r < 0) {
        free(p);
        return r;
    }
    *ret = p;
    return 0;
}

static int remember(struct page *p, const char *name)
{
    char *last = strdup(name);
    if (!last)
        return -ENOMEM;
    free(p->last);
    p->last = last;
    return 0;
}

/* ---- Glance */

/* Cut between characters. */
static void copy_text(const json_t *text, char *to, size_t size)
{
    const char *from = json_is_string(text) ? json_string_value(text) : "";
    size_t length = strlen(from);
    if (length >= size) {
        length = size - 1;
        while (length > 0 && ((unsigned char) from[length] & 0xc0) == 0x80)
            length--;
    }
    memcpy(to, from, length);
    to[length] = '\0';
}

/* The multihash where there is one, as it is the stronger one, else the MD5. */
static struct digest digest_of(const json_t *image)
{
    struct digest digest = { .algorithm = DIGEST_NONE };
    const char *name = json_string_value(json_object_get(image, "os_hash_algo"));
    const char *hash = json_string_value(json_object_get(image, "os_hash_value"));
    const char *md5 = json_string_value(json_object_get(image, "checksum"));
    if (name && hash && digest_set(digest_algorithm_by_name(name), hash, strlen(hash), &digest) == 0)
        return digest;
    if (md5)
        digest_set(DIGEST_MD5, md5, strlen(md5), &digest);
    return digest;
}

int glance_image(const json_t *image, struct image_meta *ret)
{
    const char *status = json_string_value(json_object_get(image, "status"));
    const json_t *size = json_object_get(image, "size");
    if (!status)
        return -EPROTO;
    if (strcmp(status, "active") != 0)
        return -ENOENT;
    if (!json_is_integer(size) || json_integer_value(size) < 0)
        return -EPROTO;
    struct image_meta meta = { .size = (uint64_t) json_integer_value(size), .digest = digest_of(image), .id_is_version = true };
    copy_text(json_object_get(image, "name"), meta.title, sizeof(meta.title));
    copy_text(json_object_get(image, "disk_format"), meta.disk_format, sizeof(meta.disk_format));
    json_int_t virtual_size = json_integer_value(json_object_get(image, "virtual_size"));
    meta.virtual_size = virtual_size > 0 ? (uint64_t) virtual_size : 0;
    *ret = meta;
    return 0;
}

static int glance_object(void *context, const json_t *image)
{
    struct page *p = context;
    struct image_meta meta;
    const char *id = json_string_value(json_object_get(image, "id"));
    int r = id ? remember(p, id) : -EPROTO;
    if (r < 0 || !image_id_valid(id) || glance_image(image, &meta) < 0)
        return r;
    struct listed_image listed = { .name = id, .size = meta.size, .meta = &meta };
    return p->base.fn(p->base.context, &listed);
}

static int glance_member(void *context, const json_t *member)
{
    struct page *p = context;
    if (json_is_string(json_object_get(member, "next")))
        p->more = true;
    return 0;
}

int listing_new_glance(listing_fn *fn, void *context, struct listing **ret)
{
    static const struct objects_ops ops = { .array = "images", .object = glance_object, .member = glance_member };
    struct page *p;
    int r = page_new(&ops, fn, context, &p);
    if (r == 0)
        *ret = &p->base;
    return r;
}

/* ---- Swift */

const char *listing_id_of(const char *name, const char *prefix, char *const *not_images)
{
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || !image_id_valid(name + length))
        return NULL;
    return sums_named(not_images, name + length) ? NULL : name + length;
}

static int swift_object(void *context, const json_t *object)
{
    struct page *p = context;
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *last = name ? name : json_string_value(json_object_get(object, "subdir"));
    const char *id = name ? listing_id_of(name, p->prefix, p->not_images) : NULL;
    const json_t *bytes = json_object_get(object, "bytes");
    int r = last ? remember(p, last) : -EPROTO;
    p->more = true; /* a server may have a lower limit than was asked for: the end is a page with nothing */
    if (r < 0 || !id)
        return r;
    bool told = json_is_integer(bytes) && json_integer_value(bytes) > 0;
    struct listed_image listed = { .name = id, .size = told ? (uint64_t) json_integer_value(bytes) : IMAGE_SIZE_UNKNOWN };
    return p->base.fn(p->base.context, &listed);
}

int listing_new_swift(const char *prefix, bool no_content, char *const *not_images, listing_fn *fn, void *context,
                      struct listing **ret)
{
    static const struct objects_ops ops = { .object = swift_object };
    struct page *p;
    int r = page_new(&ops, fn, context, &p);
    if (r < 0)
        return r;
    p->prefix = prefix;
    p->may_be_empty = no_content;
    p->not_images = not_images;
    *ret = &p->base;
    return 0;
}
