/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `swift`: the objects of one container, plain or large ones (static or dynamic), read as whole objects.
 *
 * Nothing changes after open() but the token, see openstack.h.
 */
#include "config-auto.h"

#include "backends/backend.h"
#include "backends/object.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/listing/pages.h"
#include "backends/openstack.h"
#include "backends/setting.h"

enum { PAGE = 2000 }; /* names; a server may bring less */

struct backend {
    struct objects objects; /* the first */
    const char *prefix; /* of the names; "" */
    char *container;    /* escaped */
    struct openstack *cloud;
};

static object_fn ask_for;

static void swift_close(struct backend *b)
{
    openstack_close(b->cloud);
    abilities_free(b->objects.abilities);
    free(b->container);
    free(b);
}

static int swift_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return setting_no_memory(message);
    b->objects = (struct objects){.config = config, .ask = ask_for};
    b->prefix = config->prefix ? config->prefix : "";
    int r = backend_check_sums_names(config, message);
    if (r == 0 && (!config->container || !*config->container || strchr(config->container, '/')))
        r = setting_refuse(config, message, "container", "must be the name of the container that holds the images");
    if (r == 0 && !(b->container = transfer_escape(config->container)))
        r = setting_no_memory(message);
    if (r == 0)
        r = openstack_open(config, "object-store", NULL, &b->cloud, message);
    if (r == 0 && abilities_new(openstack_endpoints(b->cloud), &b->objects.abilities) < 0)
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

/* ---- the listing, and digests beside the images */

static int swift_list(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request)
{
    char *escaped = transfer_escape(marker ? marker : ""), *prefix = transfer_escape(b->prefix), *path = NULL;
    char limit[32] = "";
    unsigned extras = 0;
    int r = -ENOMEM;
    if (abilities_ask(b->objects.abilities, endpoint, ABILITY_PAGE_LIMIT, &extras)) /* else the server's own, which may be any */
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
    return listing_new_swift(b->prefix, head->status == 204, b->objects.config->checksum_files, fn, context, ret);
}

static int swift_document(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request)
{
    return ask_for(b, endpoint, name, request);
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

const struct backend_ops backend_swift = {
    .type = "swift",
    .describe_has_bytes = true,
    .open = swift_open,
    .close = swift_close,
    .endpoints = swift_endpoints,
    .endpoint_name = swift_endpoint_name,
    .describe = object_describe,
    .described = swift_described,
    .describe_again = object_describe_again,
    .otherwise = object_otherwise,
    .refuses = object_refuses,
    .bytes = object_bytes,
    .list = swift_list,
    .listing = swift_listing,
    .document = swift_document,
    .digests = object_digests,
    .auth_needed = swift_auth_needed,
    .auth_name = swift_auth_name,
    .auth = swift_auth,
    .auth_head = swift_auth_head,
    .authorised = swift_authorised,
    .credential = swift_credential,
    .refused = swift_refused,
};
