/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call a request means. The calls and the answers are stand-ins, so that routes.c and request.c can be linked without a
 * server: what is asserted is who would be asked, and that nothing is called that needs a right which was not asked for.
 */
#include "config-auto.h"

#include "fuzz.h"

#include "base/log.h"

#include "api/access/auth.h"
#include "api/calls/location.h"
#include "api/http/api.h"

static unsigned answers;
static bool asked;
static enum permission asked_for;
static char *header_values[5];

const char *MHD_lookup_connection_value(struct MHD_Connection *connection, enum MHD_ValueKind kind, const char *key)
{
    static const char *const names[] = {"Host", "Origin", "Sec-Fetch-Site", "Sec-Fetch-Mode", "X-Glance-Cache"};
    (void) connection, (void) kind;
    for (int i = 0; i < 5; i++) {
        if (strcmp(names[i], key) == 0)
            return header_values[i] && *header_values[i] ? header_values[i] : NULL;
    }
    return NULL;
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

bool auth_allows(struct request *r, enum permission may, unsigned *ret_status, char *message, size_t size)
{
    asked = true;
    asked_for = may;
    *ret_status = 401;
    snprintf(message, size, "no");
    return strlen(r->uri) % 2 == 0;
}

enum MHD_Result reply_error(struct request *r, unsigned status, const char *format, ...)
{
    (void) r, (void) format;
    assert(status >= 400 && status < 500 && r->status == 0);
    answers++;
    return MHD_YES;
}

enum MHD_Result reply_not_allowed(struct request *r, const char *allow)
{
    assert(r->segment_count <= SEGMENTS_MAX && *allow && allow[strlen(allow) - 1] != ' ' && strlen(allow) < 60 && !asked);
    answers++;
    return MHD_YES;
}

static enum MHD_Result called(struct request *r, enum permission least, bool with_id)
{
    char value[16];
    bool looks = request_is(r, "GET") || request_is(r, "HEAD");
    assert(asked && asked_for == least && (r->id != NULL) == with_id);
    assert(looks || r->action); /* every change is audited */
    if (request_argument(r, "limit", value, sizeof(value)))
        assert(strlen(value) < sizeof(value));
    answers++;
    return MHD_YES;
}

#define CALL(name, least, with_id) enum MHD_Result name(struct request *r) { return called(r, least, with_id); }
CALL(download_image, MAY_READ, true) CALL(download_auth, MAY_READ, true) CALL(download_signed, MAY_ALL, true) CALL(images_list, MAY_READ, false)
CALL(images_show, MAY_READ, true) CALL(images_locations, MAY_READ, true) CALL(images_schema, MAY_ALL, false) CALL(cache_list, MAY_MANAGE, false)
CALL(cache_queue, MAY_MANAGE, true) CALL(cache_delete, MAY_MANAGE, true) CALL(cache_clear, MAY_MANAGE, false)
CALL(cache_show, MAY_MANAGE, true) CALL(cache_nodes, MAY_MANAGE, true) CALL(cache_clean, MAY_MANAGE, false)
CALL(cache_prune, MAY_MANAGE, false) CALL(cache_pin, MAY_MANAGE, true) CALL(cache_unpin, MAY_MANAGE, true)
CALL(cache_stop, MAY_MANAGE, true) CALL(cache_forget, MAY_MANAGE, true) CALL(bootset_show, MAY_MANAGE, true) CALL(bootset_forget, MAY_MANAGE, true) CALL(legacy_list_cached, MAY_MANAGE, false)
CALL(legacy_list_queued, MAY_MANAGE, false) CALL(legacy_queue, MAY_MANAGE, true) CALL(legacy_delete_cached, MAY_MANAGE, true)
CALL(legacy_delete_queued, MAY_MANAGE, true) CALL(legacy_clear_cached, MAY_MANAGE, false)
CALL(legacy_clear_queued, MAY_MANAGE, false) CALL(discovery_versions, MAY_ALL, false) CALL(discovery_root, MAY_ALL, false)
CALL(page_file, MAY_ALL, false) CALL(status_show, MAY_WATCH, false) CALL(metrics_show, MAY_METRICS, false)
CALL(healthcheck_show, MAY_ALL, false)

bool location_offered(const struct request *r)
{
    (void) r;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char *names[] = {(char *) "cache.example.org"};
    static struct config config = {.api = {.server_names = names, .server_name_count = 1}};
    static struct api api = {.config = &config};
    struct input in = {data, size};
    char *method = fuzz_line(&in), *uri = fuzz_line(&in);
    for (int i = 0; i < 5; i++)
        header_values[i] = fuzz_line(&in);
    struct request *r = request_new(&api, uri);
    assert(r);
    r->method = method;
    log_set_level(LOG_EMERG);
    answers = 0;
    asked = false;
    assert(routes_answer(r) == MHD_YES && answers == 1);
    for (unsigned i = 0; i < r->segment_count; i++)
        assert(r->segments[i] > r->path && r->segments[i] + strlen(r->segments[i]) <= r->path + strlen(uri));
    request_free(r);
    for (int i = 0; i < 5; i++)
        free(header_values[i]);
    free(method);
    free(uri);
    return 0;
}
