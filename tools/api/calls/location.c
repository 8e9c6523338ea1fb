/* SPDX-License-Identifier: Apache-2.0 */
/* Where an image's file is, for programs of this host. No state. */
#include "config-auto.h"

#include "api/calls/location.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/access/auth.h"
#include "image/id.h"

bool location_offered(const struct request *r)
{
    const struct config_api *api = &r->api->config->api;
    struct peer client;
    if (api->direct_url != DIRECT_URL_FILE || (r->api->upstream != NULL && api->auth != API_AUTH_KEYSTONE))
        return false;
    return peer_parse(r->client, &client) && peer_is_loopback(&client);
}

/* "file:///srv/glance/images/ID", to be freed; NULL. */
static char *file_url(const struct request *r, const char *id)
{
    char encoded[3 * IMAGE_ID_MAX + 1], *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        return NULL;
    fputs("file://", out);
    for (const char *c = r->api->mount; *c != '\0'; c++) {
        bool plain = strchr("/-._~", *c) != NULL || (*c >= '0' && *c <= '9') || (*c >= 'A' && *c <= 'Z') || (*c >= 'a' && *c <= 'z');
        fprintf(out, plain ? "%c" : "%%%02X", (unsigned char)*c);
    }
    text_encode(id, encoded);
    fprintf(out, "/images/%s", encoded);
    if (fclose(out) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

static json_t *locations_of(const char *url)
{
    return json_pack("[{s:s, s:{}}]", "url", url, "metadata");
}

static bool may_have_bytes(struct request *r, const char *id, unsigned *ret_status, char *message, size_t size)
{
    r->action = "locate";
    return auth_downloads(r, id, ret_status, message, size);
}

void location_add(struct request *r, const char *id, char **body, size_t *length)
{
    unsigned status;
    char message[512];
    if (!location_offered(r))
        return;
    json_t *record = json_loadb(*body, *length, 0, NULL);
    char *url = json_is_object(record) && may_have_bytes(r, id, &status, message, sizeof(message)) ? file_url(r, id) : NULL;
    char *text = NULL;
    if (url != NULL && json_object_set_new(record, "direct_url", json_string(url)) == 0 &&
        json_object_set_new(record, "locations", locations_of(url)) == 0)
        text = json_dumps(record, JSON_COMPACT);
    if (text != NULL) {
        free(*body);
        *body = text;
        *length = strlen(text);
    }
    free(url);
    json_decref(record);
}

/* GET /v2/images/ID/locations */
enum MHD_Result images_locations(struct request *r)
{
    unsigned status;
    char message[512];
    if (!location_offered(r))
        return reply_error(r, 404, "there is nothing at this path");
    if (!image_id_valid(r->id))
        return reply_errno(r, -ENOENT, "look up image");
    if (!may_have_bytes(r, r->id, &status, message, sizeof(message)))
        return status == 204 ? reply_json(r, 200, json_array()) : reply_error(r, status, "%s", message);
    char *url = file_url(r, r->id);
    json_t *locations = url == NULL ? NULL : locations_of(url);
    free(url);
    return reply_json(r, 200, locations);
}
