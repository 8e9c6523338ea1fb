/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v2/schemas/image, /v2/schemas/images. Clients make their options of it and keep it, glanceclient even for other servers: so it names
 * all that Glance's images have. It allows everything, since clients validate against it. No state.
 */
#include "config-auto.h"

#include <string.h>

#include "api/http/api.h"

static const struct property {
    const char *name, *type;
    bool or_null, read_only;
} PROPERTIES[] = {
    {"id", "string", false, false},
    {"name", "string", true, false},
    {"status", "string", false, true},
    {"visibility", "string", false, false},
    {"protected", "boolean", false, false},
    {"os_hidden", "boolean", false, false},
    {"checksum", "string", true, true},
    {"os_hash_algo", "string", true, true},
    {"os_hash_value", "string", true, true},
    {"owner", "string", true, false},
    {"size", "integer", true, true},
    {"virtual_size", "integer", true, true},
    {"container_format", "string", true, false},
    {"disk_format", "string", true, false},
    {"created_at", "string", false, true},
    {"updated_at", "string", false, true},
    {"tags", "array", false, false},
    {"direct_url", "string", false, true},
    {"min_ram", "integer", false, false},
    {"min_disk", "integer", false, false},
    {"self", "string", false, true},
    {"file", "string", false, true},
    {"schema", "string", false, true},
    {"locations", "array", false, false},
    {"stores", "string", false, true}, /* else clients take it for a property of the image, which nova hands on to its copies */
};

static json_t *property(const struct property *p)
{
    json_t *type = p->or_null ? json_pack("[s, s]", "null", p->type) : json_string(p->type);
    json_t *document = json_pack("{s:o, s:s}", "type", type, "description", p->name);
    if (document != NULL && p->read_only)
        json_object_set_new(document, "readOnly", json_true());
    if (document != NULL && strcmp(p->name, "tags") == 0)
        json_object_set_new(document, "items", json_pack("{s:s}", "type", "string"));
    return document;
}

static json_t *image_schema(void)
{
    json_t *properties = json_object();
    for (size_t i = 0; i < sizeof(PROPERTIES) / sizeof(PROPERTIES[0]); i++)
        json_object_set_new(properties, PROPERTIES[i].name, property(&PROPERTIES[i]));
    return json_pack("{s:s, s:o, s:{s:s}}", "name", "image", "properties", properties, "additionalProperties", "type", "string");
}

enum MHD_Result images_schema(struct request *r)
{
    json_t *image = image_schema();
    if (strcmp(r->segments[2], "image") == 0)
        return reply_json(r, 200, image);
    return reply_json(r, 200, json_pack("{s:s, s:{s:{s:s, s:o}}}", "name", "images", "properties", "images", "type", "array", "items",
                                        image));
}
