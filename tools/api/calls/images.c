/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v2/images: as much of it as clients need to find an image before they ask for its cache entry or its bytes. With keystone, callers who
 * do not see everything are answered by Glance itself, with their own token.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/access/auth.h"
#include "api/cache/mount.h"
#include "api/http/api.h"
#include "base/json_text.h"
#include "image/id.h"

enum { LIMIT_DEFAULT = 25, LIMIT_MAX = 1000, FACTS = FACT_DIGEST | FACT_NAME | FACT_FORMAT };

static json_t *text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : json_text(text);
}

static json_t *image_document(const char *id, const struct facts *f)
{
    char encoded[3 * IMAGE_ID_MAX + 1], self[sizeof(encoded) + 32], file[sizeof(encoded) + 32], when[32];
    text_encode(id, encoded);
    snprintf(self, sizeof(self), "/v2/images/%s", encoded);
    snprintf(file, sizeof(file), "/v2/images/%s/file", encoded);
    text_time(f->modified, when);
    return json_pack("{s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:b, s:n, s:n, s:[], s:s, s:s, s:s}",
        "id", json_text(id), "name", f->name[0] != '\0' ? json_text(f->name) : json_text(id), "status", "active", "size",
        (json_int_t)f->size, "checksum", text_or_null(f->checksum), "os_hash_algo", text_or_null(f->hash_algo), "os_hash_value",
        text_or_null(f->hash_value), "disk_format", f->disk_format[0] != '\0' ? json_text(f->disk_format) : json_string("raw"),
        "container_format", "bare", "visibility", "public", "created_at", when, "updated_at", when, "min_disk", 0, "min_ram", 0,
        "protected", 0, "os_hidden", 0, "owner", "virtual_size", "tags", "self", self, "file", file, "schema", "/v2/schemas/image");
}

static enum MHD_Result relayed(struct request *r, const char *path)
{
    struct service_answer a;
    if (auth_relay(r, path, &a) < 0)
        return reply_error(r, 503, "the image service does not answer");
    if (a.status == 200)
        return reply_text(r, 200, "application/json", a.body, a.length);
    free(a.body);
    if (a.status >= 500 || a.status < 200)
        return reply_error(r, 503, "the image service answers with status %u", a.status);
    return reply_error(r, a.status == 401 || a.status == 403 || a.status == 404 ? a.status : 502, "the image service refuses this");
}

static bool asks_glance(const struct request *r)
{
    return r->api->config->api.auth == API_AUTH_KEYSTONE && !r->who.reader;
}

/* GET /v2/images/ID */
enum MHD_Result images_show(struct request *r)
{
    struct facts f;
    if (asks_glance(r)) {
        char encoded[3 * IMAGE_ID_MAX + 1], path[sizeof(encoded) + 16];
        if (!image_id_valid(r->id))
            return reply_errno(r, -ENOENT, "look up image");
        text_encode(r->id, encoded);
        snprintf(path, sizeof(path), "/images/%s", encoded);
        return relayed(r, path);
    }
    int error = mount_facts(r->api->mount, FOLDER_IMAGES, r->id, FACTS, &f);
    if (error < 0)
        return reply_errno(r, error, "look up image");
    return reply_json(r, 200, image_document(r->id, &f));
}

/* ---- the list */

struct page {
    const struct request *r;
    json_t *images;
    char marker[IMAGE_ID_MAX + 1], name[IMAGE_ID_MAX + 1], id[IMAGE_ID_MAX + 1], last[IMAGE_ID_MAX + 1];
    bool hidden;  /* only hidden images are asked for, and none is: clients look among them for what they found nowhere else */
    bool waiting; /* for the marker */
    bool more;
    size_t limit;
};

/* Is it what name=… or id=… ask for? */
static bool wanted(const struct page *p, const char *id, const struct facts *f)
{
    if (p->id[0] != '\0' && strcmp(p->id, id) != 0)
        return false;
    return p->name[0] == '\0' || strcmp(p->name, f->name[0] != '\0' ? f->name : id) == 0;
}

static bool take(void *context, const char *id)
{
    struct page *p = context;
    struct facts f;
    if (p->waiting) {
        p->waiting = strcmp(p->marker, id) != 0;
        return true;
    }
    if (mount_facts(p->r->api->mount, FOLDER_IMAGES, id, FACTS, &f) < 0 || !wanted(p, id, &f))
        return true;
    if (json_array_size(p->images) == p->limit) {
        p->more = true;
        return false;
    }
    snprintf(p->last, sizeof(p->last), "%s", id);
    return json_array_append_new(p->images, image_document(id, &f)) == 0;
}

static bool read_limit(const char *text, size_t *ret)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0')
        return false;
    *ret = n > LIMIT_MAX ? LIMIT_MAX : n;
    return true;
}

/* NULL; or what is wrong with them. */
static const char *read_arguments(const struct request *r, struct page *p)
{
    char limit[32], hidden[32];
    int has_limit = request_argument(r, "limit", limit, sizeof(limit)), has_hidden = request_argument(r, "os_hidden", hidden, sizeof(hidden));
    int has_marker = request_argument(r, "marker", p->marker, sizeof(p->marker));
    p->limit = LIMIT_DEFAULT;
    if (has_limit < 0 || (has_limit > 0 && !read_limit(limit, &p->limit)))
        return "limit must be a number";
    if (has_hidden < 0 || has_marker < 0 || request_argument(r, "name", p->name, sizeof(p->name)) < 0 ||
        request_argument(r, "id", p->id, sizeof(p->id)) < 0)
        return "an argument of the query is too long, or holds a % that is not followed by two hexadecimal digits";
    p->waiting = has_marker > 0;
    p->hidden = has_hidden > 0 && strcasecmp(hidden, "true") == 0;
    return NULL;
}

/* The query that was asked, with another marker: what filtered this page filters the next one. */
static char *next_page(const struct page *p)
{
    char encoded[3 * IMAGE_ID_MAX + 1], *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return NULL;
    fputs("/v2/images?", out);
    for (const char *c = p->r->query; *c != '\0';) {
        size_t n = strcspn(c, "&");
        if (n > 0 && strncmp(c, "marker=", 7) != 0)
            fprintf(out, "%.*s&", (int)n, c);
        c += n + (c[n] == '&');
    }
    text_encode(p->last, encoded);
    fprintf(out, "marker=%s", encoded);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static json_t *list_document(const struct page *p)
{
    json_t *document = json_pack("{s:O, s:s, s:s}", "images", p->images, "first", "/v2/images", "schema", "/v2/schemas/images");
    if (p->more && document != NULL && p->last[0] != '\0') {
        char *next = next_page(p);
        json_object_set_new(document, "next", json_text(next != NULL ? next : ""));
        free(next);
    }
    return document;
}

/* GET /v2/images */
enum MHD_Result images_list(struct request *r)
{
    struct page p = {.r = r};
    if (asks_glance(r)) {
        char path[URI_MAX + 16];
        snprintf(path, sizeof(path), "/images%s%s", r->query[0] != '\0' ? "?" : "", r->query);
        return relayed(r, path);
    }
    const char *wrong = read_arguments(r, &p);
    if (wrong != NULL)
        return reply_error(r, 400, "%s", wrong);
    p.images = json_array();
    int error = p.hidden ? 0 : mount_each(r->api->mount, FOLDER_IMAGES, take, &p);
    p.waiting = p.waiting && !p.hidden;
    json_t *document = error == 0 && !p.waiting ? list_document(&p) : NULL;
    json_decref(p.images);
    if (error < 0)
        return reply_errno(r, error, "list images");
    if (p.waiting)
        return reply_error(r, 400, "there is no image %s to go on behind", p.marker);
    return reply_json(r, 200, document);
}
