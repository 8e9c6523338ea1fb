/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask first: which versions there are, and whether the server is well. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "api/cache/mount.h"
#include "api/http/api.h"

/*
 * Clients take a version for what came with it, so that only what is served is listed: 2.14, 2.16 and 2.18 brought the calls of the cache.
 * Not 2.8, 2.10 to 2.13 and 2.15 (stores, and imports into them), nor 2.17, whose /locations newer cinders depend on where it is listed.
 */
static const char *const VERSIONS[] = {"v2.18", "v2.16", "v2.14", "v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0"};

static enum MHD_Result versions(struct request *r, unsigned status)
{
    char url[512];
    json_t *list = json_array();
    request_base_url(r, url, sizeof(url) - 4);
    strcat(url, "/v2/");
    for (size_t i = 0; i < sizeof(VERSIONS) / sizeof(VERSIONS[0]); i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:[{s:s, s:s}]}", "id", VERSIONS[i], "status",
                                              i == 0 ? "CURRENT" : "SUPPORTED", "links", "rel", "self", "href", url));
    return reply_json(r, status, json_pack("{s:o}", "versions", list));
}

enum MHD_Result discovery_versions(struct request *r)
{
    return versions(r, 200);
}

enum MHD_Result discovery_root(struct request *r)
{
    if (r->segment_count == 0 && request_wants_page(r))
        return page_file(r);
    return versions(r, 300);
}

enum MHD_Result healthcheck_show(struct request *r)
{
    json_t *status = NULL;
    int error = mount_status(r->api->mount, &status);
    json_decref(status);
    return error < 0 ? reply_errno(r, error, "read the status of the cache") : reply_json(r, 200, json_pack("{s:s}", "status", "ok"));
}
