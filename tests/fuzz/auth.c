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

static const unsigned statuses[] = {200, 401, 404, 500, 206, 416, 204, 400};
static const char *answers[2];
static unsigned answer_status[2], asked[2];
static const char *service_token;

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
    (void) connection, (void) kind;
    return strcmp(key, "X-Auth-Token") == 0 ? "token" : strcmp(key, "X-Service-Token") == 0 ? service_token : NULL;
}

#if MHD_VERSION >= 0x00097601
struct MHD_BasicAuthInfo *MHD_basic_auth_get_username_password3(struct MHD_Connection *connection)
{
    (void) connection;
    return NULL;
}
#else
char *MHD_basic_auth_get_username_password(struct MHD_Connection *connection, char **password)
{
    (void) connection, (void) password;
    return NULL;
}
#endif

void MHD_free(void *memory)
{
    free(memory);
}

const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *connection, enum MHD_ConnectionInfoType type, ...)
{
    (void) connection, (void) type;
    return NULL;
}

struct service {
    int which; /* of the answers */
};

struct service *service_new(const char *what, const char *base, const char *ca_file)
{
    struct service *s = calloc(1, sizeof(*s));
    (void) ca_file;
    assert(s && strncmp(base, "http://", 7) == 0);
    s->which = strcmp(what, "Keystone") == 0 ? 0 : 1;
    return s;
}

struct service *service_new_at(const char *what, struct endpoints *endpoints, const char *ca_file)
{
    assert(endpoints);
    return service_new(what, "http://glance", ca_file);
}

void service_free(struct service *s)
{
    free(s);
}

bool service_token_valid(const char *text)
{
    return *text != '\0';
}

int service_ask(struct service *s, const struct service_question *q, struct service_answer *ret)
{
    bool token = strcmp(q->token, "token") == 0, service = service_token && strcmp(q->token, service_token) == 0;
    assert(*q->path == '/' && (token || service) && (q->subject != NULL) == (s->which == 0) && ++asked[s->which] <= 3);
    *ret = (struct service_answer){.status = answer_status[s->which], .body = strdup(answers[s->which]), .length = strlen(answers[s->which])};
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
    json_t *token = json_loads(answers[0], 0, NULL);
    bool known = answer_status[0] == 200 && json_is_string(json_object_get(json_object_get(token, "token"), "expires_at"));
    assert(!allowed || known);
    assert(!(allowed && may == MAY_MANAGE) || says(token, "admin"));
    assert(allowed ? status == 0 : status == 401 || status == 403 || status == 503);
    assert(allowed || *message);
    if (allowed && !auth_downloads(r, "image", &status, message, sizeof(message)))
        assert(status == 204 || status == 401 || status == 403 || status == 404 || status == 503);
    else if (allowed)
        assert(answer_status[1] == 200 || answer_status[1] == 206 || answer_status[1] == 416);
    json_decref(token);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *roles[] = {(char *) "admin"};
    static struct config config = {.api = {.auth = API_AUTH_KEYSTONE, .auth_url = (char *) "http://k/v3/", .image_url = (char *) "http://g",
                                           .admin_roles = roles, .admin_role_count = 1, .service_token_roles = roles, .service_token_role_count = 1, .token_ttl = 300, .auth_ttl = 60}};
    struct input in = {data, size};
    for (int i = 0; i < 2; i++)
        answer_status[i] = statuses[fuzz_number(&in, 1) % 8];
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
        service_token = may % 2 ? NULL : "service";
        assert(auth_new(&config, NULL, &api.auth) == 0);
        check(&r, (enum permission) may);
        auth_free(api.auth);
    }
    free(first);
    free(second);
    return 0;
}
