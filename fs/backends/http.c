/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `http`: images on a web server, one url each; several servers that hold the same images are endpoints.
 *
 * Nothing changes after open(), which also reads the files of secrets; no lock.
 */
#include "config-auto.h"

#include "backends/backend.h"
#include "backends/object.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/head_digest.h"
#include "backends/http_url.h"
#include "backends/listing/listing.h"
#include "backends/setting.h"
#include "base/secret.h"

struct backend {
    struct objects objects; /* the first */
    struct http_url *urls; /* one an endpoint */
    unsigned url_count;
    struct http_url list_url; /* .url NULL: each endpoint's own folder */
    char **folders;           /* urls of where images lie, and of the listing's; NULL at the end */
    bool cannot_list;
    char *user_password; /* from user_file, for every url without its own; NULL */
    char *authorization; /* "Bearer …", from token_file; NULL */
};

static object_fn ask_for;

/* ---- open and close */

static int read_urls(struct backend *b, char *message)
{
    const struct config *config = b->objects.config;
    if (config->url_count == 0)
        return setting_refuse(config, message, "url", "must say where the images are, as in https://images.example.org/{id}");
    b->urls = calloc(config->url_count, sizeof(*b->urls));
    if (!b->urls)
        return setting_no_memory(message);
    for (size_t i = 0; i < config->url_count; i++) {
        const char *why;
        int r = http_url_parse(config->urls[i], true, &b->urls[i], &why);
        if (r == -ENOMEM)
            return setting_no_memory(message);
        if (r < 0) {
            char text[300];
            snprintf(text, sizeof(text), "url %zu of %zu %s", i + 1, config->url_count, why);
            return setting_refuse(config, message, "url", text);
        }
        b->url_count++;
    }
    return 0;
}

static int read_list_url(struct backend *b, char *message)
{
    const char *text = b->objects.config->list_url;
    if (!text || !*text)
        return 0;
    b->cannot_list = strcmp(text, "none") == 0;
    if (b->cannot_list)
        return 0;
    const char *why;
    int r = http_url_parse(text, false, &b->list_url, &why);
    return r == -ENOMEM ? setting_no_memory(message) : r < 0 ? setting_refuse(b->objects.config, message, "list_url", why) : 0;
}

/* Where a link of an index page may lead, when it is a whole url. */
static int read_folders(struct backend *b, char *message)
{
    size_t n = 0;
    b->folders = calloc(b->url_count + 2, sizeof(*b->folders));
    if (!b->folders)
        return setting_no_memory(message);
    for (unsigned i = 0; i < b->url_count; i++) {
        int r = http_url_folder(&b->urls[i], &b->folders[n]);
        if (r == -ENOMEM)
            return setting_no_memory(message);
        n += r == 0;
    }
    if (b->list_url.url) {
        const char *url = b->list_url.url, *path = strstr(url, "://") + 3;
        size_t length = strcspn(url, "?#"), host = (size_t) (path - url) + strcspn(path, "/");
        while (length > host && url[length - 1] != '/')
            length--;
        b->folders[n] = length > host ? strndup(url, length) : NULL;
        if (length > host && !b->folders[n])
            return setting_no_memory(message);
    }
    return 0;
}

static int read_secrets(struct backend *b, char *message)
{
    const struct config *config = b->objects.config;
    char *token = NULL;
    int r = setting_secret_file(config, "user_file", config->user_file, &b->user_password, message);
    if (r == 0)
        r = setting_secret_file(config, "token_file", config->token_file, &token, message);
    if (r == 0 && b->user_password && !strchr(b->user_password, ':'))
        r = setting_refuse(config, message, "user_file", "must name a file with one line \"user:password\"");
    if (r == 0 && b->user_password && token)
        r = setting_refuse(config, message, "token_file", "cannot be used together with user_file; keep one of them");
    if (r == 0 && token && asprintf(&b->authorization, "Bearer %s", token) < 0) {
        b->authorization = NULL;
        r = setting_no_memory(message);
    }
    secret_free(token);
    return r;
}

static void http_close(struct backend *b)
{
    for (unsigned i = 0; i < b->url_count; i++)
        http_url_clear(&b->urls[i]);
    free(b->urls);
    for (char **folder = b->folders; folder && *folder; folder++)
        free(*folder);
    free(b->folders);
    abilities_free(b->objects.abilities);
    http_url_clear(&b->list_url);
    secret_free(b->user_password);
    secret_free(b->authorization);
    free(b);
}

static int http_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return setting_no_memory(message);
    b->objects = (struct objects){.config = config, .ask = ask_for};
    int r = read_urls(b, message);
    if (r == 0)
        r = read_list_url(b, message);
    if (r == 0)
        r = read_folders(b, message);
    if (r == 0)
        r = backend_check_sums_names(config, message);
    if (r == 0)
        r = read_secrets(b, message);
    if (r == 0 && abilities_new(b->url_count, &b->objects.abilities) < 0)
        r = setting_no_memory(message);
    if (r < 0) {
        http_close(b);
        return r;
    }
    *ret = b;
    return 0;
}

static unsigned http_endpoints(const struct backend *b)
{
    return b->url_count;
}

static const char *http_endpoint_name(const struct backend *b, unsigned endpoint)
{
    assert(endpoint < b->url_count);
    return b->urls[endpoint].name;
}

/* ---- requests */

/* A request for URL (which it takes over; NULL: no memory) with the credentials that belong to FROM. */
static int ask(const struct backend *b, const struct http_url *from, char *url, struct transfer_request *request)
{
    struct transfer_request r = { .url = url };
    const char *user_password = from->user_password ? from->user_password : b->user_password;
    int error = url ? 0 : -ENOMEM;
    if (error == 0 && user_password && !(r.user_password = strdup(user_password)))
        error = -ENOMEM;
    if (error == 0 && !user_password && b->authorization)
        error = transfer_request_header(&r, "Authorization", b->authorization);
    if (error < 0) {
        transfer_request_clear(&r);
        return error;
    }
    *request = r;
    return 0;
}

static int ask_for(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    assert(endpoint < b->url_count);
    const struct http_url *u = &b->urls[endpoint];
    return ask(b, u, http_url_of(u, name), request);
}

static int http_described(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head,
                          const void *body, size_t length, struct image_meta *ret)
{
    (void) b, (void) id, (void) body, (void) length;
    struct image_meta meta;
    int r = backend_meta_from_head(head, endpoint, &meta);
    if (r < 0)
        return r;
    if (head->status != 416)
        meta.digest = head_digest(head);
    *ret = meta;
    return 0;
}

/* ---- the listing */

/* A list_url of its own gets the endpoint's userinfo only when it leads to the same server. */
static int ask_for_list(const struct backend *b, const struct http_url *endpoint, struct transfer_request *request)
{
    const struct http_url *list = &b->list_url;
    if (list->url) {
        bool own = list->user_password || !http_url_same_server(list, endpoint);
        return ask(b, own ? list : endpoint, strdup(list->url), request);
    }
    char *folder;
    int r = http_url_folder(endpoint, &folder);
    return r < 0 ? r : ask(b, endpoint, folder, request);
}

static int http_list(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request)
{
    assert(endpoint < b->url_count);
    if (b->cannot_list || marker)
        return -ENOTSUP;
    struct transfer_request q;
    int r = ask_for_list(b, &b->urls[endpoint], &q);
    if (r < 0)
        return r;
    r = transfer_request_header(&q, "Accept", "application/json, text/html;q=0.9, */*;q=0.5");
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

static bool is_json(const char *type)
{
    static const char json[] = "application/json";
    size_t length = sizeof(json) - 1;
    return type && strncasecmp(type, json, length) == 0 && strchr("; \t", type[length]); /* or the end */
}

static int listing_of(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context, struct listing **ret)
{
    struct listing *l;
    int r = listing_new_web(is_json(transfer_head_get(head, "Content-Type")), b->objects.config->checksum_files, fn, context, &l);
    if (r < 0)
        return r;
    l->folders = b->folders;
    *ret = l;
    return 0;
}

static int http_listing(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context,
                        struct listing **ret)
{
    switch (head->status) {
    case 200:
        return listing_of(b, head, fn, context, ret);
    case 403: /* nginx without autoindex */
    case 404:
    case 405:
        return -ENOTSUP;
    default: {
        int r = backend_status_error(head->status);
        return r < 0 ? r : -EPROTO;
    }
    }
}

static int http_document(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    return ask_for(b, endpoint, name, request);
}

const struct backend_ops backend_http = {
    .type = "http",
    .describe_has_bytes = true,
    .open = http_open,
    .close = http_close,
    .endpoints = http_endpoints,
    .endpoint_name = http_endpoint_name,
    .describe = object_describe,
    .described = http_described,
    .describe_again = object_describe_again,
    .otherwise = object_otherwise,
    .refuses = object_refuses,
    .bytes = object_bytes,
    .list = http_list,
    .listing = http_listing,
    .document = http_document,
    .digests = object_digests,
};
