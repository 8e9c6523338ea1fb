/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `swift`: the objects of one container, plain or large ones (static or dynamic), read as whole objects.
 *
 * Nothing changes after open() but the token, see openstack.h.
 */
#include "config-auto.h"

#include "backends/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/listing/pages.h"
#include "backends/openstack.h"
#include "backends/setting.h"

enum { PAGE = 2000 }; /* names; a server may bring less */

struct backend {
    const struct config *config;
    const char *prefix; /* of the names; "" */
    char *container;    /* escaped */
    struct openstack *cloud;
    struct abilities *abilities;
};

static void swift_close(struct backend *b)
{
    openstack_close(b->cloud);
    abilities_free(b->abilities);
    free(b->container);
    free(b);
}

static int swift_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return setting_no_memory(message);
    b->config = config;
    b->prefix = config->prefix ? config->prefix : "";
    int r = backend_check_sums_names(config, message);
    if (r == 0 && (!config->container || !*config->container || strchr(config->container, '/')))
        r = setting_refuse(config, message, "container", "must be the name of the container that holds the images");
    if (r == 0 && !(b->container = transfer_escape(config->container)))
        r = setting_no_memory(message);
    if (r == 0)
        r = openstack_open(config, "object-store", NULL, &b->cloud, message);
    if (r == 0 && abilities_new(openstack_endpoints(b->cloud), &b->abilities) < 0)
        r = setting_no_memory(message);
    if (r < 0) {
        swift_close(b);
        return r;
    }
    *ret = b;
    return 0;
}

static unsigned swift_endpoints(const struct backend *b)
{
    return openstack_endpoints(b->cloud);
}

static const char *swift_endpoint_name(const struct backend *b, unsigned endpoint)
{
    return openstack_endpoint_name(b->cloud, endpoint);
}

/* ---- requests */

static int ask_for(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    char *object = backend_object_path(b->prefix, id), *path = NULL;
    int r = -ENOMEM;
    if (object && asprintf(&path, "/%s/%s", b->container, object) >= 0)
        r = openstack_ask(b->cloud, endpoint, path, request);
    free(object);
    free(path);
    return r;
}

static int swift_describe(struct backend *b, unsigned endpoint, const char *id, uint64_t probe,
                          struct transfer_request *request)
{
    if (backend_is_sums(b->config, id))
        return -ENOENT;
    int r = ask_for(b, endpoint, id, request);
    if (r == 0)
        backend_ask_first(request, probe);
    return r;
}

static int swift_describe_again(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request)
{
    int r = ask_for(b, endpoint, id, request);
    if (r == 0)
        request->method = "HEAD";
    return r;
}

/* The etag of a large object is made of those of its segments. */
static bool is_large(const struct transfer_head *head)
{
    const char *is_static = transfer_head_get(head, "X-Static-Large-Object");
    return (is_static && strcasecmp(is_static, "false") != 0) || transfer_head_get(head, "X-Object-Manifest");
}

static int swift_described(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head,
                           const void *body, size_t length, struct image_meta *ret)
{
    (void) b, (void) id, (void) body, (void) length;
    struct image_meta meta;
    int r = backend_meta_from_head(head, endpoint, &meta);
    if (r < 0)
        return r;
    if (head->status != 416 && !is_large(head))
        meta.digest = backend_etag_md5(meta.etag);
    *ret = meta;
    return 0;
}

static int swift_bytes(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta,
                       uint64_t first, uint64_t last, struct transfer_request *request)
{
    int r = ask_for(b, endpoint, id, request);
    return r < 0 ? r : backend_ask_part(request, b->abilities, endpoint, meta, first, last);
}

/* ---- the listing, and digests beside the images */

static int swift_list(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request)
{
    char *escaped = transfer_escape(marker ? marker : ""), *prefix = transfer_escape(b->prefix), *path = NULL;
    char limit[32] = "";
    unsigned extras = 0;
    int r = -ENOMEM;
    if (abilities_ask(b->abilities, endpoint, ABILITY_PAGE_LIMIT, &extras)) /* else the server's own, which may be any */
        snprintf(limit, sizeof(limit), "limit=%d&", PAGE);
    if (escaped && prefix && asprintf(&path, "/%s?format=json&delimiter=%%2F&%sprefix=%s&marker=%s", b->container, limit, prefix, escaped) >= 0)
        r = openstack_ask(b->cloud, endpoint, path, request);
    if (r == 0)
        request->extras = extras;
    free(escaped);
    free(prefix);
    free(path);
    return r;
}

static int swift_listing(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context,
                         struct listing **ret)
{
    int r = backend_status_error(head->status);
    if (r < 0)
        return r == -ENOENT ? -ENOTSUP : r; /* no container yet is no listing, not an empty one */
    return listing_new_swift(b->prefix, head->status == 204, b->config->checksum_files, fn, context, ret);
}

static int swift_document(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    return ask_for(b, endpoint, name, request);
}

static int swift_digests(struct backend *b, unsigned endpoint, unsigned n, struct transfer_request *request,
                         const char **ret_name, enum digest_algorithm *ret_algorithm)
{
    if (n >= b->config->checksum_file_count)
        return -ENOENT;
    const char *name = b->config->checksum_files[n];
    int r = ask_for(b, endpoint, name, request);
    if (r < 0)
        return r;
    *ret_name = name;
    *ret_algorithm = backend_sums_algorithm(name);
    return 0;
}

/* ---- the token */

static enum auth_need swift_auth_needed(struct backend *b)
{
    return openstack_auth_needed(b->cloud);
}

static const char *swift_auth_name(const struct backend *b)
{
    return openstack_auth_name(b->cloud);
}

static int swift_auth(struct backend *b, struct transfer_request *request)
{
    return openstack_auth(b->cloud, request);
}

static int swift_auth_head(struct backend *b, const struct transfer_head *head, const char **ret_why)
{
    return openstack_auth_head(b->cloud, head, ret_why);
}

static int swift_authorised(struct backend *b, const void *body, size_t length, const char **ret_why)
{
    return openstack_authorised(b->cloud, body, length, ret_why);
}

static unsigned swift_credential(struct backend *b)
{
    return openstack_credential(b->cloud);
}

static bool swift_refused(struct backend *b, unsigned credential, int status, const char *code)
{
    (void) code;
    return status == 401 && openstack_refused(b->cloud, credential);
}

/* ---- what a server refuses */

static bool swift_otherwise(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why)
{
    return abilities_answered(b->abilities, endpoint, extras, result->status, why, BACKEND_WHY_MAX);
}

static const char *swift_refuses(struct backend *b, unsigned endpoint, unsigned *n)
{
    return abilities_refused(b->abilities, endpoint, n);
}

const struct backend_ops backend_swift = {
    .type = "swift",
    .describe_has_bytes = true,
    .open = swift_open,
    .close = swift_close,
    .endpoints = swift_endpoints,
    .endpoint_name = swift_endpoint_name,
    .describe = swift_describe,
    .described = swift_described,
    .describe_again = swift_describe_again,
    .otherwise = swift_otherwise,
    .refuses = swift_refuses,
    .bytes = swift_bytes,
    .list = swift_list,
    .listing = swift_listing,
    .document = swift_document,
    .digests = swift_digests,
    .auth_needed = swift_auth_needed,
    .auth_name = swift_auth_name,
    .auth = swift_auth,
    .auth_head = swift_auth_head,
    .authorised = swift_authorised,
    .credential = swift_credential,
    .refused = swift_refused,
};
