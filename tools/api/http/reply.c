/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: JSON in one line, errors of one form, and the headers that every answer has. No state. */
#include "config-auto.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/api.h"
#include "api/http/range.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"

enum { MESSAGE_MAX = 1024 };

static const struct { unsigned status; const char *title; } TITLES[] = {
    {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
    {409, "Conflict"}, {413, "Content Too Large"}, {414, "URI Too Long"}, {416, "Range Not Satisfiable"},
    {421, "Misdirected Request"}, {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"}, {502, "Bad Gateway"},
    {503, "Service Unavailable"}, {507, "Insufficient Storage"}, {508, "Loop Detected"},
};

static const char *title_of(unsigned status)
{
    for (size_t i = 0; i < sizeof(TITLES) / sizeof(TITLES[0]); i++) {
        if (TITLES[i].status == status)
            return TITLES[i].title;
    }
    return "Error";
}

enum MHD_Result reply_queue(struct request *r, unsigned status, struct MHD_Response *response)
{
    if (response == NULL)
        return MHD_NO;
    if (MHD_get_response_header(response, "X-Content-Type-Options") == NULL)
        MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (r->request_id[0] != '\0' && MHD_get_response_header(response, "X-Openstack-Request-Id") == NULL)
        MHD_add_response_header(response, "X-Openstack-Request-Id", r->request_id);
    if (r->kept) {
        char age[24];
        snprintf(age, sizeof(age), "%llu", (unsigned long long)r->age);
        MHD_add_response_header(response, "Age", age);
    }
    if (r->stale)
        MHD_add_response_header(response, "Warning", "111 glance-cache-api \"Revalidation Failed\"");
    if (r->close)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result result = MHD_queue_response(r->connection, status, response);
    MHD_destroy_response(response);
    r->status = status;
    return result;
}

enum MHD_Result reply_text(struct request *r, unsigned status, const char *type, char *text, size_t length)
{
    struct MHD_Response *response =
        text == NULL ? NULL : MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (status == 401 && r->api->config->api.auth == API_AUTH_KEYSTONE) {
        char header[600];
        snprintf(header, sizeof(header), "Keystone uri=\"%s\"", r->api->config->api.auth_url);
        MHD_add_response_header(response, "WWW-Authenticate", header);
    } else if (status == 401) {
        MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"glance-cache\"");
    }
    if (r->retry_after[0] != '\0' || status == 503)
        MHD_add_response_header(response, "Retry-After", r->retry_after[0] != '\0' ? r->retry_after : "5");
    return reply_queue(r, status, response);
}

enum MHD_Result reply_json(struct request *r, unsigned status, json_t *document)
{
    char *text = document == NULL ? NULL : json_dumps(document, JSON_PRESERVE_ORDER | JSON_ENCODE_ANY | JSON_REAL_PRECISION(16));
    json_decref(document);
    return reply_text(r, status, "application/json", text, text == NULL ? 0 : strlen(text));
}

enum MHD_Result reply_json_tagged(struct request *r, json_t *document, const char *etag)
{
    const char *condition = request_header(r, "If-None-Match");
    bool same = document != NULL && etag[0] != '\0' && condition != NULL && etag_listed(condition, etag);
    char *text = same ? strdup("") : document == NULL ? NULL : json_dumps(document, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(16));
    json_decref(document);
    struct MHD_Response *response = text == NULL ? NULL : MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store"); /* whoever asks with a tag keeps the answer by itself */
    if (etag[0] != '\0')
        MHD_add_response_header(response, "ETag", etag);
    return reply_queue(r, same ? 304 : 200, response);
}

enum MHD_Result reply_static(struct request *r, const char *type, const void *bytes, size_t length, const char *etag)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(length, (void *)bytes, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, "Content-Type", type);
    MHD_add_response_header(response, "Cache-Control", "no-cache");
    MHD_add_response_header(response, "ETag", etag);
    MHD_add_response_header(response, "X-Frame-Options", "DENY");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    return reply_queue(r, 200, response);
}

enum MHD_Result reply_empty(struct request *r, unsigned status)
{
    return reply_queue(r, status, MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
}

static char *error_line(unsigned status, const char *message)
{
    json_t *document = json_pack("{s:{s:i, s:s, s:o}}", "error", "code", (int)status, "title", title_of(status), "message",
                                 json_text(message));
    char *text = document == NULL ? NULL : json_dumps(document, JSON_PRESERVE_ORDER);
    json_decref(document);
    char *line = text == NULL ? NULL : realloc(text, strlen(text) + 2);
    if (line == NULL)
        free(text);
    else
        strcat(line, "\n");
    return line;
}

enum MHD_Result reply_error(struct request *r, unsigned status, const char *format, ...)
{
    char message[MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    char *line = error_line(status, message);
    return reply_text(r, status, "application/json", line, line == NULL ? 0 : strlen(line));
}

enum MHD_Result reply_not_allowed(struct request *r, const char *allow)
{
    char message[MESSAGE_MAX];
    snprintf(message, sizeof(message), "%.32s is not possible here: %s", r->method, allow);
    char *line = error_line(405, message);
    struct MHD_Response *response =
        line == NULL ? NULL : MHD_create_response_from_buffer(strlen(line), line, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(line);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Allow", allow);
    return reply_queue(r, 405, response);
}

/* The mount is there, and does not let this server: an operator's mistake, or the backend's no. */
static enum MHD_Result refused(struct request *r, const char *what)
{
    bool reads = request_is(r, "GET") || request_is(r, "HEAD");
    if (reads)
        log_warning("cannot %s: permission denied, by the backend or by the mount; mount it with -o allow_other, or run this server as the "
                    "user that mounted it", what);
    else
        log_warning("cannot %s: permission denied; run this server as the user who owns the folders in %s", what, r->api->mount);
    return reply_error(r, 502, reads ? "cannot %s: the backend, or the mount, does not let this server"
                                     : "cannot %s: the mount does not let this server change anything", what);
}

/* Was it said within a minute? WHEN: when it was, last. */
static bool is_news(atomic_llong *when)
{
    long long now = clock_monotonic(), before = atomic_load(when);
    return (before == 0 || now - before > 60 * NS_PER_S) && atomic_compare_exchange_strong(when, &before, now);
}

enum MHD_Result reply_errno(struct request *r, int error, const char *what)
{
    static atomic_llong told_not_mounted;
    char full[MESSAGE_MAX];
    snprintf(full, sizeof(full), "%s%s%s", what, r->id != NULL ? " " : "", r->id != NULL ? r->id : "");
    switch (-error) {
    case ENOENT:
        return reply_error(r, 404, "Image %s not found.", r->id != NULL ? r->id : "");
    case EPERM:
    case EACCES:
        return refused(r, full);
    case EBUSY:
        return reply_error(r, 409, "cannot %s: it is in use", full);
    case ENOSPC:
        return reply_error(r, 507, "cannot %s: no space is left", full);
    case ENOTCONN:
        if (is_news(&told_not_mounted)) /* a restart under load would be a flood */
            log_warning("cannot %s: no cache is mounted at %s; clients get 503 until glance-cache-fs is started", full, r->api->mount);
        return reply_error(r, 503, "the cache is not mounted");
    case ENOMEM:
    case EBADMSG:
        log_warning("cannot %s: %s", full, strerror(-error));
        return reply_error(r, 500, "cannot %s: %s", full, strerror(-error));
    default:
        return reply_error(r, 503, "cannot %s: %s", full, strerror(-error));
    }
}
