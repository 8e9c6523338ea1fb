/* SPDX-License-Identifier: Apache-2.0 */
/* What clients ask first: which versions there are, and whether the server is well. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>

#include "api/cache/mount.h"
#include "api/http/api.h"

/* 2.14 brought /v2/cache, 2.18 clean and prune. */
static const char *const VERSIONS[] = {"v2.18", "v2.17", "v2.16", "v2.15", "v2.14", "v2.13", "v2.12", "v2.11", "v2.10", "v2.9",
                                       "v2.8",  "v2.7",  "v2.6",  "v2.5",  "v2.4",  "v2.3",  "v2.2",  "v2.1",  "v2.0"};

static enum MHD_Result versions(struct request *r, unsigned status)
{
    char url[512];
    json_t *list = json_array();
    const char *host = request_header(r, "Host");
    const char *scheme = r->api->config->api.tls_cert_file != NULL ? "https" : "http";
    snprintf(url, sizeof(url), "%s://%.400s/v2/", scheme, host != NULL ? host : "localhost");
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
