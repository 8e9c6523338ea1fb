/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v2/images: as much of it as clients need to find an image before they ask for its cache entry or its bytes. With keystone, all
 * callers are answered by Glance itself, with their own token.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/access/auth.h"
#include "api/access/documents.h"
#include "api/cache/mount.h"
#include "api/calls/location.h"
#include "api/calls/query.h"
#include "api/http/api.h"
#include "base/json_text.h"
#include "image/id.h"

enum { FACTS = FACT_DIGEST | FACT_NAME | FACT_FORMAT };

static json_t *text_or_null(const char *text)
{
    return text[0] == '\0' ? json_null() : json_text(text);
}

/* As it is known, from the backend or from the first bytes; else by the name's ending; else null: a wrong one is worse than none. */
static json_t *disk_format(const char *id, const struct facts *f)
{
    static const char *const endings[] = {"qcow2", "vmdk", "vhd", "vhdx", "vdi", "iso", "raw"};
    if (f->disk_format[0] != '\0')
        return json_text(f->disk_format);
    const char *name = f->name[0] != '\0' ? f->name : id, *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof(endings) / sizeof(endings[0]); i++) {
        if (strcasecmp(dot + 1, endings[i]) == 0)
            return json_string(endings[i]);
    }
    return json_null();
}

static json_t *virtual_size(const struct facts *f)
{
    return f->virtual_size[0] == '\0' ? json_null() : json_integer((json_int_t)strtoll(f->virtual_size, NULL, 10));
}

static json_t *image_document(const char *id, const struct facts *f)
{
    char encoded[3 * IMAGE_ID_MAX + 1], self[sizeof(encoded) + 32], file[sizeof(encoded) + 32], when[32];
    text_encode(id, encoded);
    snprintf(self, sizeof(self), "/v2/images/%s", encoded);
    snprintf(file, sizeof(file), "/v2/images/%s/file", encoded);
    text_time(f->modified, when);
    return json_pack("{s:o, s:o, s:s, s:I, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:i, s:i, s:b, s:b, s:n, s:o, s:[], s:s, s:s, s:s}",
        "id", json_text(id), "name", f->name[0] != '\0' ? json_text(f->name) : json_text(id), "status", "active", "size",
        (json_int_t)f->size, "checksum", text_or_null(f->checksum), "os_hash_algo", text_or_null(f->hash_algo), "os_hash_value",
        text_or_null(f->hash_value), "disk_format", disk_format(id, f),
        "container_format", "bare", "visibility", "public", "created_at", when, "updated_at", when, "min_disk", 0, "min_ram", 0,
        "protected", 0, "os_hidden", 0, "owner", "virtual_size", virtual_size(f), "tags", "self", self, "file", file, "schema", "/v2/schemas/image");
}

/* What of Glance's answer is kept, or stands no more. */
static void remember(struct request *r, const char *key, const char *image, uint64_t asked, const struct service_answer *a)
{
    struct document document = {.status = a->status, .body = a->body, .length = a->length};
    strcpy(document.type, "application/json");
    if (a->status == 200)
        documents_put(r->api->documents, key, image, asked, &document);
    else if (a->status >= 400 && a->status < 500 && a->status != 429)
        documents_drop(r->api->documents, key);
}

static void locate(struct request *r, const char *image, unsigned status, char **body, size_t *length)
{
    if (image != NULL && status == 200)
        location_add(r, image, body, length);
}

/* IMAGE: whose record it is; NULL: of several. */
static enum MHD_Result relayed(struct request *r, const char *path, const char *image)
{
    struct service_answer a;
    struct document kept;
    struct documents *d = r->api->documents;
    char key[VERDICT_KEY] = "";
    uint64_t asked = documents_ask(d);
    bool keeps = documents_on(d) && verdict_key(r->who.scope, r->uri, key);
    if (keeps && !document_wanted_anew(r) && documents_get(d, key, DOCUMENT_YOUNG, &kept)) {
        locate(r, image, kept.status, &kept.body, &kept.length);
        return document_reply(r, &kept, false);
    }
    int error = auth_relay(r, path, keeps && image != NULL && documents_has(d, key), &a);
    if (keeps && (error < 0 || a.status >= 500) && documents_get(d, key, DOCUMENT_STALE, &kept)) {
        if (error == 0)
            free(a.body);
        locate(r, image, kept.status, &kept.body, &kept.length);
        return document_reply(r, &kept, true);
    }
    if (error < 0)
        return reply_error(r, 503, "the image service does not answer");
    if (keeps)
        remember(r, key, image, asked, &a);
    locate(r, image, a.status, &a.body, &a.length);
    if (a.status == 200 || (a.status >= 300 && a.status < 500 && a.status != 401)) { /* word for word, also a no */
        memcpy(r->retry_after, a.retry_after, sizeof(r->retry_after));
        return reply_text(r, a.status, a.status == 200 || a.type[0] == '\0' ? "application/json" : a.type, a.body, a.length);
    }
    free(a.body);
    if (a.status == 401)
        return reply_error(r, 401, "this token is not, or no longer, good");
    return reply_error(r, 503, "the image service answers with status %u", a.status);
}

static bool asks_glance(const struct request *r)
{
    return r->api->config->api.auth == API_AUTH_KEYSTONE;
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
        return relayed(r, path, r->id);
    }
    int error = mount_facts(r->api->mount, FOLDER_IMAGES, r->id, FACTS, &f);
    if (error < 0)
        return reply_errno(r, error, "look up image");
    json_t *document = image_document(r->id, &f);
    if (document == NULL || !location_offered(r))
        return reply_json(r, 200, document);
    char *text = json_dumps(document, JSON_COMPACT);
    size_t length = text == NULL ? 0 : strlen(text);
    json_decref(document);
    if (text != NULL)
        location_add(r, r->id, &text, &length);
    return reply_text(r, 200, "application/json", text, length);
}

/* ---- the list */

struct page {
    const struct request *r;
    struct query query;
    json_t *images;
    bool waiting; /* for the marker */
    bool more;
};

/* An image of the listing, where no order is asked for: as many as the page holds, behind the marker. */
static bool take(void *context, const char *id)
{
    struct page *p = context;
    struct facts f;
    if (p->waiting) {
        p->waiting = strcmp(p->query.marker, id) != 0;
        return true;
    }
    if (mount_facts(p->r->api->mount, FOLDER_IMAGES, id, FACTS, &f) < 0)
        return true;
    json_t *image = image_document(id, &f);
    if (image == NULL || !query_matches(&p->query, image)) {
        json_decref(image);
        return image != NULL;
    }
    if (json_array_size(p->images) == p->query.limit) {
        p->more = true;
        json_decref(image);
        return false;
    }
    return json_array_append_new(p->images, image) == 0;
}

/* All that pass: they are sorted when all are known. */
static bool take_all(void *context, const char *id)
{
    struct page *p = context;
    struct facts f;
    if (mount_facts(p->r->api->mount, FOLDER_IMAGES, id, FACTS, &f) < 0)
        return true;
    json_t *image = image_document(id, &f);
    bool wanted = image != NULL && query_matches(&p->query, image);
    bool good = image != NULL && (!wanted || json_array_append(p->images, image) == 0);
    json_decref(image);
    return good;
}

static int compare(const void *a, const void *b, void *context)
{
    return query_compare(context, *(json_t *const *)a, *(json_t *const *)b);
}

/* Sorts what is there, and keeps the page behind the marker. */
static int sort_page(struct page *p)
{
    size_t count = json_array_size(p->images), begin = 0;
    json_t **all = calloc(count + 1, sizeof(*all));
    json_t *kept = json_array();
    if (all == NULL || kept == NULL) {
        free(all);
        json_decref(kept);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++)
        all[i] = json_array_get(p->images, i);
    qsort_r(all, count, sizeof(*all), compare, &p->query);
    for (size_t i = 0; p->waiting && i < count; i++) {
        p->waiting = strcmp(json_string_value(json_object_get(all[i], "id")), p->query.marker) != 0;
        begin = i + 1;
    }
    for (size_t i = begin; i < count && json_array_size(kept) < p->query.limit; i++)
        json_array_append(kept, all[i]);
    p->more = count - begin > json_array_size(kept);
    free(all);
    json_decref(p->images);
    p->images = kept;
    return 0;
}

/* The query that was asked, with another marker: what filtered this page filters the next one. */
static char *next_page(const struct page *p, const char *last)
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
    text_encode(last, encoded);
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
    size_t count = json_array_size(p->images);
    if (p->more && document != NULL && count > 0) {
        char *next = next_page(p, json_string_value(json_object_get(json_array_get(p->images, count - 1), "id")));
        json_object_set_new(document, "next", json_text(next != NULL ? next : ""));
        free(next);
    }
    return document;
}

static enum MHD_Result list_own(struct request *r, struct page *p)
{
    p->images = json_array();
    p->waiting = p->query.marker != NULL;
    bool ordered = p->query.key_count > 0;
    int error = mount_each(r->api->mount, FOLDER_IMAGES, ordered ? take_all : take, p);
    if (error == 0 && ordered)
        error = sort_page(p);
    json_t *document = error == 0 && !p->waiting ? list_document(p) : NULL;
    json_decref(p->images);
    if (error < 0)
        return reply_errno(r, error, "list images");
    if (p->waiting)
        return reply_error(r, 400, "there is no image %s to go on behind", p->query.marker);
    return reply_json(r, 200, document);
}

/* GET /v2/images */
enum MHD_Result images_list(struct request *r)
{
    struct page p = {.r = r};
    char wrong[QUERY_ERROR];
    if (asks_glance(r)) {
        char path[URI_MAX + 16];
        snprintf(path, sizeof(path), "/images%s%s", r->query[0] != '\0' ? "?" : "", r->query);
        return relayed(r, path, NULL);
    }
    bool good = query_parse(r->query, &p.query, wrong);
    enum MHD_Result result = good ? list_own(r, &p) : reply_error(r, 400, "%s", wrong);
    query_clear(&p.query);
    return result;
}
