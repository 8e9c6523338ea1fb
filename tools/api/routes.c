/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call a method and a path mean, and who may. One table; the first row that fits is the call, all rows whose path fits make the
 * Allow header. "*" stands for any one segment, "{id}" for one that names an image.
 */
#include "config-auto.h"

#include <stdio.h>
#include <string.h>

#include "api/access/auth.h"
#include "api/access/guard.h"
#include "api/calls/location.h"
#include "api/http/api.h"
#include "base/log.h"

static const struct route {
    const char *method, *path;
    enum permission may;
    call_fn *call;
    const char *action; /* for the audit; HEAD is none */
} ROUTES[] = {
    {"GET", "", MAY_ALL, discovery_root, NULL},
    {"GET", "versions", MAY_ALL, discovery_versions, NULL},
    {"GET", "v2", MAY_ALL, discovery_root, NULL},
    {"GET", "page/*", MAY_ALL, page_file, NULL},
    {"GET", "favicon.ico", MAY_ALL, page_file, NULL},
    {"GET", "healthcheck", MAY_ALL, healthcheck_show, NULL},
    {"GET", "metrics", MAY_METRICS, metrics_show, NULL},
    {"GET", "status", MAY_WATCH, status_show, NULL},

    {"GET", "v2/images/{id}/file", MAY_READ, download_image, "download"},
    {"GET", "images/{id}", MAY_READ, download_image, "download"},
    {"GET", "v1/images/{id}", MAY_READ, download_image, "download"},
    {"GET", "v1/*/*/{id}", MAY_ALL, download_signed, "download"}, /* who may is in the link */
    {"GET", "v2/images", MAY_READ, images_list, NULL},
    {"GET", "v2/images/{id}", MAY_READ, images_show, NULL},
    {"GET", "v2/images/{id}/locations", MAY_READ, images_locations, NULL},
    {"GET", "v2/schemas/image", MAY_ALL, images_schema, NULL},
    {"GET", "v2/schemas/images", MAY_ALL, images_schema, NULL},
    {"GET", "auth/images/{id}", MAY_READ, download_auth, "authorize"}, /* the path of a download as it came, behind /auth */
    {"GET", "auth/v1/images/{id}", MAY_READ, download_auth, "authorize"},
    {"GET", "auth/v2/images/{id}/file", MAY_READ, download_auth, "authorize"},

    {"GET", "v2/cache", MAY_MANAGE, cache_list, NULL},
    {"DELETE", "v2/cache", MAY_MANAGE, cache_clear, "clear"},
    {"GET", "v2/cache/nodes/{id}", MAY_MANAGE, cache_nodes, NULL},
    {"POST", "v2/cache/clean", MAY_MANAGE, cache_clean, "clean"},
    {"POST", "v2/cache/prune", MAY_MANAGE, cache_prune, "prune"},
    {"GET", "v2/cache/{id}", MAY_MANAGE, cache_show, NULL},
    {"PUT", "v2/cache/{id}", MAY_MANAGE, cache_queue, "queue"},
    {"DELETE", "v2/cache/{id}", MAY_MANAGE, cache_delete, "delete"},
    {"PUT", "v2/cache/{id}/pin", MAY_MANAGE, cache_pin, "pin"},
    {"DELETE", "v2/cache/{id}/pin", MAY_MANAGE, cache_unpin, "unpin"},
    {"DELETE", "v2/cache/{id}/incomplete", MAY_MANAGE, cache_stop, "stop"},
    {"DELETE", "v2/cache/{id}/invalid", MAY_MANAGE, cache_forget, "forget"},
    {"GET", "v2/cache/{id}/bootset", MAY_MANAGE, bootset_show, NULL},
    {"DELETE", "v2/cache/{id}/bootset", MAY_MANAGE, bootset_forget, "forget bootset"},

    {"GET", "cached_images", MAY_MANAGE, legacy_list_cached, NULL},
    {"DELETE", "cached_images", MAY_MANAGE, legacy_clear_cached, "clear cached"},
    {"DELETE", "cached_images/{id}", MAY_MANAGE, legacy_delete_cached, "delete cached"},
    {"GET", "queued_images", MAY_MANAGE, legacy_list_queued, NULL},
    {"DELETE", "queued_images", MAY_MANAGE, legacy_clear_queued, "clear queued"},
    {"PUT", "queued_images/{id}", MAY_MANAGE, legacy_queue, "queue"},
    {"DELETE", "queued_images/{id}", MAY_MANAGE, legacy_delete_queued, "delete queued"},
};
enum { ROUTE_COUNT = sizeof(ROUTES) / sizeof(ROUTES[0]) };

/* The calls of 2011 and of the middleware: below nothing, /v1 or /v2, with '-' or '_'. */
static const char *canonical(const char *segment)
{
    if (strcmp(segment, "cached-images") == 0)
        return "cached_images";
    if (strcmp(segment, "queued-images") == 0)
        return "queued_images";
    return segment;
}

static bool is_legacy(const char *segment)
{
    return strcmp(segment, "cached_images") == 0 || strcmp(segment, "queued_images") == 0;
}

/* Does the path fit the route? FROM: the first segment that counts. */
static bool fits(const struct request *r, const struct route *route, unsigned from, const char **ret_id)
{
    const char *c = route->path;
    unsigned i = from;
    *ret_id = NULL;
    while (*c != '\0') {
        size_t n = strcspn(c, "/");
        if (i == r->segment_count)
            return false;
        const char *segment = i == from ? canonical(r->segments[i]) : r->segments[i];
        if (n == 4 && strncmp(c, "{id}", n) == 0)
            *ret_id = segment;
        else if (!(n == 1 && *c == '*') && (strlen(segment) != n || strncmp(c, segment, n) != 0))
            return false;
        i++;
        c += n + (c[n] == '/');
    }
    return i == r->segment_count && !(r->folder && *ret_id != NULL);
}

static unsigned first_segment(const struct request *r)
{
    bool version = r->segment_count > 1 && (strcmp(r->segments[0], "v1") == 0 || strcmp(r->segments[0], "v2") == 0);
    return version && is_legacy(canonical(r->segments[1])) ? 1 : 0;
}

/* GET stands for HEAD too. */
static bool method_fits(const struct request *r, const struct route *route)
{
    return request_is(r, route->method) || (request_is(r, "HEAD") && strcmp(route->method, "GET") == 0);
}

static const struct route *find(struct request *r, char *allow, size_t size)
{
    unsigned from = first_segment(r);
    const char *id;
    allow[0] = '\0';
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (!fits(r, &ROUTES[i], from, &id))
            continue;
        if (method_fits(r, &ROUTES[i])) {
            r->id = id;
            return &ROUTES[i];
        }
        if (strstr(allow, ROUTES[i].method) != NULL)
            continue;
        size_t used = strlen(allow);
        snprintf(allow + used, size - used, "%s%s%s", used > 0 ? ", " : "", ROUTES[i].method,
                 strcmp(ROUTES[i].method, "GET") == 0 ? ", HEAD" : "");
    }
    return NULL;
}

/* Calls about images that Glance itself answers, where there is one to pass them on to. */
static bool is_glances(const struct request *r, const struct route *route)
{
    if (route->call == discovery_root)
        return !(r->segment_count == 0 && request_wants_page(r));
    if (route->call == images_show || route->call == images_locations)
        return !location_offered(r);
    return route->call == discovery_versions || route->call == images_list || route->call == images_schema;
}

/* Paths at which Glance has nothing, or what is only ours: other methods are no calls. */
static bool is_own_path(const struct request *r)
{
    static const char *const own[] = {"auth", "favicon.ico", "healthcheck", "images", "metrics", "page", "status"};
    unsigned from = first_segment(r);
    if (r->segment_count == 0)
        return false;
    if (is_legacy(canonical(r->segments[from])) || (r->segment_count > 1 && strcmp(r->segments[0], "v2") == 0 && strcmp(r->segments[1], "cache") == 0))
        return true;
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        if (strcmp(r->segments[0], own[i]) == 0)
            return true;
    }
    return false;
}

/* NULL: let it in. */
static const char *refusal(const struct request *r)
{
    const struct config_api *api = &r->api->config->api;
    const char *host = request_header(r, "Host");
    if (api->auth == API_AUTH_NONE && !guard_host(host, api->server_names, api->server_name_count))
        return "this server has another name: ask for it by its address, or name it in server_names";
    struct guard_request g = {
        .change = !request_is(r, "GET") && !request_is(r, "HEAD"),
        .host = host,
        .origin = request_header(r, "Origin"),
        .fetch_site = request_header(r, "Sec-Fetch-Site"),
        .fetch_mode = request_header(r, "Sec-Fetch-Mode"),
        .custom = request_header(r, GUARD_HEADER),
        .page = r->segment_count == 0,
    };
    return guard_site(&g);
}

bool routes_pass_on(struct request *r)
{
    char allow[64];
    request_split(r); /* a path that we cannot read is not ours; Glance may say what it thinks of it */
    /* A page from elsewhere cannot send a token, or ask whether it may, unless Glance lets it. */
    if (request_header(r, "X-Auth-Token") == NULL && !request_is(r, "OPTIONS") && refusal(r) != NULL)
        return false; /* so that it is refused */
    const struct route *route = r->wrong == NULL ? find(r, allow, sizeof(allow)) : NULL;
    r->id = NULL;
    return route != NULL ? is_glances(r, route) : !is_own_path(r);
}

enum MHD_Result routes_answer(struct request *r)
{
    char allow[64];
    const char *wrong = request_split(r);
    if (wrong != NULL)
        return reply_error(r, 400, "%s", wrong);
    const char *why = refusal(r);
    if (why != NULL) {
        atomic_fetch_add(&r->api->counters.refused, 1);
        log_notice("refused %.32s %.200s: %s", r->method, r->uri, why);
        return reply_error(r, 403, "%s", why);
    }
    const struct route *route = find(r, allow, sizeof(allow));
    if (route == NULL && allow[0] != '\0')
        return reply_not_allowed(r, allow);
    if (route == NULL)
        return reply_error(r, 404, "there is nothing at this path");
    if (r->body > 0 && !request_is(r, "PUT") && !request_is(r, "POST"))
        return reply_error(r, 400, "%s takes no body", r->method);
    if (!request_is(r, "HEAD"))
        r->action = route->action;
    unsigned status;
    char message[256];
    if (!auth_allows(r, route->may, &status, message, sizeof(message)))
        return reply_error(r, status, "%s", message);
    return route->call(r);
}
