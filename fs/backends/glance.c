/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The backend `glance`: images of OpenStack's image service, by their ids (Image API v2). What an image is says a document
 * (GET /v2/images/ID); its bytes never change (/v2/images/ID/file).
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
#include "base/json_text.h"

enum { PAGE = 500 }; /* images; a service may send fewer */

struct backend {
    struct openstack *cloud;
    struct abilities *abilities;
};

static void glance_close(struct backend *b)
{
    openstack_close(b->cloud);
    abilities_free(b->abilities);
    free(b);
}

static int glance_open(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX])
{
    struct backend *b = calloc(1, sizeof(*b));
    if (!b)
        return setting_no_memory(message);
    int r = openstack_open(config, "image", "/v2", &b->cloud, message);
    if (r == 0 && abilities_new(openstack_endpoints(b->cloud), &b->abilities) < 0)
        r = setting_no_memory(message);
    if (r < 0) {
        glance_close(b);
        return r;
    }
    *ret = b;
    return 0;
}

static unsigned glance_endpoints(const struct backend *b)
{
    return openstack_endpoints(b->cloud);
}

static const char *glance_endpoint_name(const struct backend *b, unsigned endpoint)
{
    return openstack_endpoint_name(b->cloud, endpoint);
}

/* ---- requests */

/* /v2/images/ID and what follows it. */
static int ask_for(struct backend *b, unsigned endpoint, const char *id, const char *end, struct transfer_request *request)
{
    char *escaped = transfer_escape(id), *path = NULL;
    int r = -ENOMEM;
    if (escaped && asprintf(&path, "/v2/images/%s%s", escaped, end) >= 0)
        r = openstack_ask(b->cloud, endpoint, path, request);
    free(escaped);
    free(path);
    return r;
}

static int glance_describe(struct backend *b, unsigned endpoint, const char *id, uint64_t probe,
                           struct transfer_request *request)
{
    (void) probe;
    return ask_for(b, endpoint, id, "", request);
}

static int glance_described(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head,
                            const void *body, size_t length, struct image_meta *ret)
{
    (void) b, (void) id;
    if (head->status != 200) {
        int r = backend_status_error(head->status);
        return r < 0 ? r : -EPROTO;
    }
    json_t *image = json_text_is_modest(body, length) ? json_loadb(body, length, 0, NULL) : NULL;
    struct image_meta meta;
    int r = image ? glance_image(image, &meta) : -EPROTO;
    json_decref(image);
    if (r < 0)
        return r;
    meta.endpoint = endpoint;
    *ret = meta;
    return 0;
}

static int glance_bytes(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta,
                        uint64_t first, uint64_t last, struct transfer_request *request)
{
    (void) meta;
    int r = ask_for(b, endpoint, id, "/file", request);
    if (r < 0)
        return r;
    request->ranged = true;
    request->first = first;
    request->last = last;
    return 0;
}

/* ---- the listing */

/* Sorted by what never changes, so that an image made meanwhile moves none to a page that was read already. */
static int glance_list(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request)
{
    char *escaped = transfer_escape(marker ? marker : ""), *path = NULL;
    char limit[32] = "";
    unsigned extras = 0;
    int r = -ENOMEM;
    if (abilities_ask(b->abilities, endpoint, ABILITY_PAGE_LIMIT, &extras)) /* else the service's own */
        snprintf(limit, sizeof(limit), "&limit=%d", PAGE);
    if (escaped && asprintf(&path, "/v2/images?status=active&sort_key=id&sort_dir=asc%s%s%s", limit, marker ? "&marker=" : "", escaped) >= 0)
        r = openstack_ask(b->cloud, endpoint, path, request);
    if (r == 0)
        request->extras = extras;
    free(escaped);
    free(path);
    return r;
}

static int glance_listing(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context,
                          struct listing **ret)
{
    (void) b;
    int r = backend_status_error(head->status);
    return r < 0 ? r : listing_new_glance(fn, context, ret);
}

/* ---- the token */

static enum auth_need glance_auth_needed(struct backend *b)
{
    return openstack_auth_needed(b->cloud);
}

static const char *glance_auth_name(const struct backend *b)
{
    return openstack_auth_name(b->cloud);
}

static int glance_auth(struct backend *b, struct transfer_request *request)
{
    return openstack_auth(b->cloud, request);
}

static int glance_auth_head(struct backend *b, const struct transfer_head *head, const char **ret_why)
{
    return openstack_auth_head(b->cloud, head, ret_why);
}

static int glance_authorised(struct backend *b, const void *body, size_t length, const char **ret_why)
{
    return openstack_authorised(b->cloud, body, length, ret_why);
}

static unsigned glance_credential(struct backend *b)
{
    return openstack_credential(b->cloud);
}

static bool glance_refused(struct backend *b, unsigned credential, int status, const char *code)
{
    (void) code;
    return status == 401 && openstack_refused(b->cloud, credential);
}

/* ---- what a server refuses */

static bool glance_otherwise(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why)
{
    return abilities_answered(b->abilities, endpoint, extras, result->status, why, BACKEND_WHY_MAX);
}

static const char *glance_refuses(struct backend *b, unsigned endpoint, unsigned *n)
{
    return abilities_refused(b->abilities, endpoint, n);
}

const struct backend_ops backend_glance = {
    .type = "glance",
    .ids_are_versions = true,
    .open = glance_open,
    .close = glance_close,
    .endpoints = glance_endpoints,
    .endpoint_name = glance_endpoint_name,
    .describe = glance_describe,
    .described = glance_described,
    .otherwise = glance_otherwise,
    .refuses = glance_refuses,
    .bytes = glance_bytes,
    .list = glance_list,
    .listing = glance_listing,
    .auth_needed = glance_auth_needed,
    .auth_name = glance_auth_name,
    .auth = glance_auth,
    .auth_head = glance_auth_head,
    .authorised = glance_authorised,
    .credential = glance_credential,
    .refused = glance_refused,
};
