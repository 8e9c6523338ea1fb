/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may, by what Keystone and Glance answer: whatever they say, nobody is let in whom a good answer does not name. The two
 * services are stand-ins that answer with the input: a status and a body each, with a NUL between.
 */
#include "config-auto.h"

#include "fuzz.h"

#include "api/access/auth.h"
#include "api/access/service.h"
#include "api/http/api.h"
#include "base/log.h"

static const unsigned statuses[] = {200, 401, 404, 500};
static const char *answers[2];
static unsigned answer_status[2];
static bool asked[2];

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
    (void) connection, (void) kind;
    return strcmp(key, "X-Auth-Token") == 0 ? "token" : NULL;
}

int service_get(const char *base, const char *path, const char *ca_file, const char *token, const char *subject, unsigned *ret_status,
                char **ret_body, size_t *ret_length)
{
    int which = subject ? 0 : 1;
    (void) ca_file;
    assert(strncmp(base, "http://", 7) == 0 && *path == '/' && strcmp(token, "token") == 0 && !asked[which]);
    asked[which] = true;
    *ret_status = answer_status[which];
    *ret_body = strdup(answers[which]);
    *ret_length = strlen(answers[which]);
    return 0;
}

/* A text of the document, wherever it is. */
static bool says(const json_t *document, const char *text)
{
    char *all = document ? json_dumps(document, 0) : NULL;
    bool found = all && strcasestr(all, text);
    free(all);
    return found;
}

static void check(struct request *r, enum permission may)
{
    char message[256];
    unsigned status = 0;
    memset(asked, 0, sizeof(asked));
    bool allowed = auth_allows(r, may, &status, message, sizeof(message));
    json_t *token = json_loads(answers[0], 0, NULL), *image = json_loads(answers[1], 0, NULL);
    bool known = answer_status[0] == 200 && json_is_string(json_object_get(json_object_get(token, "token"), "expires_at"));
    assert(!allowed || known);
    assert(!(allowed && may == MAY_MANAGE) || says(token, "admin"));
    assert(allowed ? status == 0 : status == 401 || status == 403 || status == 503);
    assert(allowed || *message);
    if (allowed && !auth_sees(r, "image", &status, message, sizeof(message))) {
        assert(status == 403 || status == 404 || status == 503);
    } else if (allowed) {
        const char *id = json_string_value(json_object_get(image, "id"));
        assert(answer_status[1] == 200 && id && strcmp(id, "image") == 0 && (r->who.admin || says(image, "active")));
    }
    json_decref(token);
    json_decref(image);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *roles[] = {(char *) "admin"};
    static struct config config = {.api = {.auth = API_AUTH_KEYSTONE, .auth_url = (char *) "http://k/v3/", .image_url = (char *) "http://g",
                                           .admin_roles = roles, .admin_role_count = 1, .token_ttl = 300, .auth_ttl = 60}};
    struct input in = {data, size};
    for (int i = 0; i < 2; i++)
        answer_status[i] = statuses[fuzz_number(&in, 1) % 4];
    char *first = fuzz_text(in.data, in.size);
    size_t length = strlen(first);
    size_t used = length + (length < in.size);
    char *second = fuzz_text(in.data + used, in.size - used);
    answers[0] = first;
    answers[1] = second;
    log_set_level(LOG_EMERG);
    for (int may = MAY_READ; may <= MAY_MANAGE; may++) {
        struct api api = {.config = &config};
        struct request r = {.api = &api, .method = "GET"};
        assert(auth_new(&config, &api.auth) == 0);
        check(&r, (enum permission) may);
        auth_free(api.auth);
    }
    free(first);
    free(second);
    return 0;
}
