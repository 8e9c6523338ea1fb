/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listings in JSON, of Glance and of Swift: the page is collected, then parsed at its end. No lock: a parser belongs to one
 * thread.
 */
#include "config-auto.h"

#include "backends/listing/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/id.h"

struct page;
/* Tells the images of the page ROOT. 1: there is another, p->marker says from where. */
typedef int tell_fn(struct page *p, const json_t *root);

struct page {
    struct listing base;
    tell_fn *tell;
    const char *prefix;
    char *const *not_images;
    bool may_be_empty; /* without as much as a list */
    char *marker;
    char *text;
    size_t length, room;
};

static int page_feed(struct listing *l, const void *data, size_t length)
{
    struct page *p = (struct page *) l;
    if (length > LISTING_PAGE_MAX - p->length)
        return -EPROTO;
    if (length > p->room - p->length) {
        size_t room = 2 * (p->length + length);
        char *text = realloc(p->text, room);
        if (!text)
            return -ENOMEM;
        p->text = text;
        p->room = room;
    }
    memcpy(p->text + p->length, data, length);
    p->length += length;
    return 0;
}

static int page_end(struct listing *l, const char **ret_marker)
{
    struct page *p = (struct page *) l;
    if (p->length == 0)
        return p->may_be_empty ? 0 : -EPROTO;
    json_t *root = json_loadb(p->text, p->length, 0, NULL);
    int r = root ? p->tell(p, root) : -EPROTO;
    json_decref(root);
    if (r == 1)
        *ret_marker = p->marker;
    return r;
}

static void page_free(struct listing *l)
{
    struct page *p = (struct page *) l;
    free(p->text);
    free(p->marker);
    free(p);
}

static int page_new(tell_fn *tell, listing_fn *fn, void *context, struct page **ret)
{
    struct page *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->base = (struct listing){ page_feed, page_end, page_free, fn, context };
    p->tell = tell;
    *ret = p;
    return 0;
}

/* There is another page, behind MARKER. */
static int go_on(struct page *p, const char *marker)
{
    p->marker = marker ? strdup(marker) : NULL;
    return p->marker ? 1 : marker ? -ENOMEM : -EPROTO;
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
    struct image_meta meta = { .size = (uint64_t) json_integer_value(size), .digest = digest_of(image) };
    copy_text(json_object_get(image, "name"), meta.title, sizeof(meta.title));
    copy_text(json_object_get(image, "disk_format"), meta.disk_format, sizeof(meta.disk_format));
    *ret = meta;
    return 0;
}

static int tell_glance(struct page *p, const json_t *root)
{
    const json_t *images = json_object_get(root, "images");
    const char *last = NULL;
    size_t i;
    json_t *image;
    if (!json_is_array(images))
        return -EPROTO;
    json_array_foreach(images, i, image) {
        struct image_meta meta;
        last = json_string_value(json_object_get(image, "id"));
        if (!last)
            return -EPROTO;
        if (!image_id_valid(last) || glance_image(image, &meta) < 0)
            continue;
        struct listed_image listed = { .name = last, .size = meta.size, .meta = &meta };
        int r = p->base.fn(p->base.context, &listed);
        if (r != 0)
            return r;
    }
    return json_is_string(json_object_get(root, "next")) ? go_on(p, last) : 0;
}

int listing_new_glance(listing_fn *fn, void *context, struct listing **ret)
{
    struct page *p;
    int r = page_new(tell_glance, fn, context, &p);
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
    for (size_t i = 0; not_images && not_images[i]; i++) {
        if (strcmp(not_images[i], name + length) == 0)
            return NULL;
    }
    return name + length;
}

static int tell_swift(struct page *p, const json_t *root)
{
    const char *last = NULL;
    size_t i;
    json_t *object;
    if (!json_is_array(root))
        return -EPROTO;
    json_array_foreach(root, i, object) {
        const char *name = json_string_value(json_object_get(object, "name"));
        const json_t *bytes = json_object_get(object, "bytes");
        last = name ? name : json_string_value(json_object_get(object, "subdir"));
        const char *id = name ? listing_id_of(name, p->prefix, p->not_images) : NULL;
        if (!last)
            return -EPROTO;
        if (!id)
            continue;
        bool told = json_is_integer(bytes) && json_integer_value(bytes) > 0;
        struct listed_image listed = { .name = id, .size = told ? (uint64_t) json_integer_value(bytes) : IMAGE_SIZE_UNKNOWN };
        int r = p->base.fn(p->base.context, &listed);
        if (r != 0)
            return r;
    }
    return last ? go_on(p, last) : 0; /* a server may have a lower limit than was asked for: the end is a page with nothing */
}

int listing_new_swift(const char *prefix, bool no_content, char *const *not_images, listing_fn *fn, void *context,
                      struct listing **ret)
{
    struct page *p;
    int r = page_new(tell_swift, fn, context, &p);
    if (r < 0)
        return r;
    p->prefix = prefix;
    p->may_be_empty = no_content;
    p->not_images = not_images;
    *ret = &p->base;
    return 0;
}
