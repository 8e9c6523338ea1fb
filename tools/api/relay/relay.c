/* SPDX-License-Identifier: Apache-2.0 */
/* The request as libmicrohttpd tells it, and the answer as it takes it. State: the exchange with Glance, and that it failed. */
#include "config-auto.h"

#include "api/relay/relay.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/access/auth.h"
#include "api/relay/effects.h"
#include "api/relay/headers.h"
#include "api/relay/remember.h"
#include "api/relay/tee.h"
#include "api/relay/upstream.h"
#include "base/json_text.h"
#include "base/log.h"

enum { BLOCK_BYTES = 32 * 1024, DOCUMENT_MAX = 256 * 1024 };

struct relayed {
    struct request *r;
    struct exchange *exchange;  /* NULL: the answer is KEPT */
    struct memory memory;
    struct document kept;
    struct tee *tee; /* of an upload; NULL: it is not kept */
    int error; /* the exchange failed; the client is told when its body has ended */
    bool open; /* Glance may have done it, or may yet: there is no answer */
};

/* ---- to Glance */

struct adding {
    struct exchange *to;
    const char *connection;
    bool plain; /* the answer is rewritten, so it must not be compressed */
    int error;
};

static enum MHD_Result add_one(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct adding *a = context;
    (void)kind;
    if (header_goes(name, a->connection) && !(a->plain && strcasecmp(name, "Accept-Encoding") == 0))
        a->error = exchange_add_header(a->to, name, value != NULL ? value : "");
    return a->error == 0 ? MHD_YES : MHD_NO;
}

/* The lists of versions, whose URLs are rewritten: what Glance answers to paths that it does not know, too. STATUS: 0 before it answers. */
static bool is_discovery(const struct request *r, unsigned status)
{
    bool asked = r->segment_count == 0 || (r->segment_count == 1 && (strcmp(r->segments[0], "versions") == 0 || strcmp(r->segments[0], "v2") == 0));
    return !request_is(r, "HEAD") && (status == 300 || (asked && (status == 0 || status == 200)));
}

static int add_headers(struct request *r, struct exchange *x)
{
    char base[512], list[HEADERS_MAX], via[HEADERS_MAX + 64], *host;
    struct adding adding = {.to = x, .connection = request_header(r, "Connection"), .plain = is_discovery(r, 0) || r->relayed->memory.on};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, add_one, &adding);
    request_base_url(r, base, sizeof(base));
    request_forwarded_for(r, list, sizeof(list));
    host = strstr(base, "://");
    *host = '\0';
    int error = adding.error;
    if (error == 0)
        error = exchange_add_header(x, "X-OpenStack-Request-ID", r->request_id);
    if (error == 0)
        error = exchange_add_header(x, "X-Forwarded-Proto", base);
    if (error == 0)
        error = exchange_add_header(x, "X-Forwarded-Host", host + 3);
    if (error == 0)
        error = request_via(r, via, sizeof(via)) ? exchange_add_header(x, "Via", via) : -ENOMEM;
    if (error == 0 && list[0] != '\0')
        error = exchange_add_header(x, "X-Forwarded-For", list);
    if (error == 0 && request_header(r, "Accept") == NULL)
        error = exchange_add_header(x, "Accept", NULL);
    return error;
}

static int64_t body_length(const struct request *r)
{
    const char *length = request_header(r, "Content-Length");
    if (request_header(r, "Transfer-Encoding") != NULL)
        return EXCHANGE_CHUNKED;
    return length != NULL ? (int64_t)strtoll(length, NULL, 10) : EXCHANGE_NO_BODY;
}

static enum MHD_Result fail(struct request *r, int error)
{
    if (error == -ECONNABORTED) /* nobody is there to be told */
        return MHD_NO;
    if (error == -ENODEV)
        return reply_error(r, 503, "it is not known yet where Glance is: Keystone's catalogue comes with a token");
    if (error == -ENOMEM || error == -EMFILE || error == -ENFILE)
        return reply_error(r, 503, "the call cannot be passed on: %s", error_text(error));
    const char *why = r->relayed != NULL && r->relayed->exchange != NULL ? exchange_why(r->relayed->exchange) : "";
    return reply_error(r, 503, "the image service does not answer: %s", why[0] != '\0' ? why : error_text(error));
}

/* Is there an answer from before that is good enough? Then Glance is not asked. */
static bool is_known(struct relayed *relayed)
{
    struct request *r = relayed->r;
    remember_begin(&relayed->memory, r);
    if (remember_find(&relayed->memory, r, DOCUMENT_YOUNG, &relayed->kept))
        return true;
    return r->stale = upstream_is_away(r->api->upstream) && remember_find(&relayed->memory, r, DOCUMENT_STALE, &relayed->kept);
}

/* Bytes of just anybody, whom Glance has yet to refuse, must not drive out what is cached. */
static bool may_keep(struct request *r)
{
    return r->api->tees != NULL && effects_is_upload(r) && (r->api->config->api.auth == API_AUTH_NONE || auth_identify(r));
}

enum MHD_Result relay_begin(struct request *r, int client_fd)
{
    const char *expect = request_header(r, "Expect");
    struct exchange_request request = {.method = r->method, .uri = r->uri, .length = body_length(r), .client = client_fd};
    request.expects = request.length != EXCHANGE_NO_BODY && expect != NULL && strcasecmp(expect, "100-continue") == 0;
    effects_name(r);
    struct relayed *relayed = r->relayed = calloc(1, sizeof(*relayed));
    if (relayed == NULL) {
        r->refused = true;
        return fail(r, -ENOMEM);
    }
    relayed->r = r;
    if (is_known(relayed))
        return MHD_YES;
    if (!endpoints_known(r->api->glance))
        auth_identify(r); /* so that the catalogue is known */
    request.hurried = relayed->memory.before && relayed->memory.image != NULL; /* a list may take long */
    int error = exchange_new(r->api->upstream, &request, &relayed->exchange);
    if (error < 0) {
        r->refused = true;
        return fail(r, error);
    }
    error = add_headers(r, relayed->exchange);
    relayed->open = error == 0;
    int wanted = error == 0 && request.length != EXCHANGE_NO_BODY ? exchange_begin(relayed->exchange) : 1;
    relayed->error = error < 0 ? error : wanted < 0 ? wanted : 0;
    relay_restart_timeout(r);
    if (relayed->error == -ECONNABORTED)
        return MHD_NO;
    if (relayed->error == 0 && wanted > 0 && request.length != EXCHANGE_NO_BODY && may_keep(r))
        relayed->tee = tee_begin(r->api->tees, r->id);
    if (!request.expects || (wanted > 0 && error == 0)) /* who sends without asking reads the answer when all is sent */
        return MHD_YES;
    r->refused = true;
    return relay_answer(r);
}

enum MHD_Result relay_piece(struct request *r, const char *bytes, size_t length)
{
    struct relayed *relayed = r->relayed;
    if (relayed->error == 0 && relayed->exchange != NULL)
        relayed->error = exchange_send(relayed->exchange, bytes, length);
    if (relayed->tee != NULL && (relayed->error < 0 || exchange_status(relayed->exchange) >= 400)) {
        tee_end(relayed->tee, false);
        relayed->tee = NULL;
    }
    tee_piece(relayed->tee, bytes, length);
    relay_restart_timeout(r);
    return relayed->error == -ECONNABORTED ? MHD_NO : MHD_YES;
}

/* ---- and back */

static ssize_t on_read(void *context, uint64_t position, char *buffer, size_t size)
{
    struct relayed *relayed = context;
    ssize_t n = exchange_read(relayed->exchange, buffer, size);
    relay_restart_timeout(relayed->r);
    if (n > 0)
        remember_piece(&relayed->memory, buffer, (size_t)n);
    if (n == 0 || (n > 0 && position + (uint64_t)n == (uint64_t)exchange_length(relayed->exchange))) /* the end of one whose length is told is not asked for */
        remember_whole(&relayed->memory, relayed->r);
    if (n > 0)
        return n;
    if (n < 0 && n != -ECONNABORTED)
        log_notice("the answer to %s %.200s ends before its end: %s", relayed->r->method, relayed->r->uri, exchange_why(relayed->exchange));
    return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void return_headers(struct request *r, struct MHD_Response *response)
{
    const struct exchange *x = r->relayed->exchange;
    const char *name, *value, *connection = NULL;
    char url[URI_MAX + 512];
    for (size_t at = 0; exchange_header(x, &at, &name, &value);)
        connection = strcasecmp(name, "Connection") == 0 ? value : connection;
    for (size_t at = 0; exchange_header(x, &at, &name, &value);) {
        bool location = strcasecmp(name, "Location") == 0 || strcasecmp(name, "Content-Location") == 0;
        const char *rest = location ? exchange_rest(x, value) : NULL;
        if (rest != NULL) {
            request_base_url(r, url, sizeof(url));
            size_t used = strlen(url);
            snprintf(url + used, sizeof(url) - used, "%s", rest);
        }
        if (header_returns(name, connection))
            MHD_add_response_header(response, name, rest != NULL ? url : value);
    }
}

/* A gateway before Glance says that Glance is away: clients try elsewhere, and again, on 503 only. */
static unsigned status_for_client(unsigned status)
{
    return status == 502 || status == 504 ? 503 : status;
}

static enum MHD_Result queue(struct request *r, struct MHD_Response *response)
{
    unsigned status = exchange_status(r->relayed->exchange), told = status_for_client(status);
    if (response == NULL)
        return MHD_NO;
    return_headers(r, response);
    if (told != status && MHD_get_response_header(response, "Retry-After") == NULL)
        MHD_add_response_header(response, "Retry-After", "5");
    return reply_queue(r, told, response);
}

/* ---- the list of versions */

static void rewrite_links(json_t *version, const char *base)
{
    size_t i;
    json_t *link;
    char url[1024];
    json_array_foreach(json_object_get(version, "links"), i, link) {
        const char *href = json_string_value(json_object_get(link, "href")), *tail = NULL;
        for (const char *c = href; c != NULL && (c = strstr(c, "/v")) != NULL; c++)
            tail = c[2] >= '0' && c[2] <= '9' ? c : tail; /* whatever Glance is called there, the version is below us */
        if (tail == NULL)
            continue;
        snprintf(url, sizeof(url), "%s%s", base, tail);
        json_object_set_new(link, "href", json_text(url));
    }
}

static char *rewritten(const struct request *r, const char *text, size_t length)
{
    char base[512];
    size_t i;
    json_t *version, *document = json_loadb(text, length, 0, NULL);
    request_base_url(r, base, sizeof(base));
    json_array_foreach(json_object_get(document, "versions"), i, version)
        rewrite_links(version, base);
    char *line = document != NULL ? json_dumps(document, JSON_PRESERVE_ORDER) : NULL;
    json_decref(document);
    return line;
}

/* TEXT is taken. */
static char *rewritten_or_same(const struct request *r, char *text, size_t *length)
{
    char *better = rewritten(r, text, *length);
    if (better == NULL)
        return text;
    free(text);
    *length = strlen(better);
    return better;
}

static enum MHD_Result answer_discovery(struct request *r)
{
    size_t length = 0;
    ssize_t n = 1;
    char *text = malloc(DOCUMENT_MAX);
    while (text != NULL && n > 0 && length < DOCUMENT_MAX) {
        n = exchange_read(r->relayed->exchange, text + length, DOCUMENT_MAX - length);
        length += n > 0 ? (size_t)n : 0;
    }
    if (text == NULL || n != 0) {
        free(text);
        return fail(r, text == NULL ? -ENOMEM : n < 0 ? (int)n : -EPROTO);
    }
    remember_piece(&r->relayed->memory, text, length);
    remember_whole(&r->relayed->memory, r);
    text = rewritten_or_same(r, text, &length);
    struct MHD_Response *response = MHD_create_response_from_buffer(length, text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL)
        free(text);
    return queue(r, response);
}

/* ---- the answer */

static enum MHD_Result answer_kept(struct request *r)
{
    struct document *kept = &r->relayed->kept;
    if (is_discovery(r, kept->status))
        kept->body = rewritten_or_same(r, kept->body, &kept->length);
    enum MHD_Result result = document_reply(r, kept, r->stale);
    kept->body = NULL; /* it is taken */
    return result;
}

static void remember_answer(struct request *r, unsigned status)
{
    const char *name, *value, *type = "application/json";
    bool encoded = false;
    for (size_t at = 0; exchange_header(r->relayed->exchange, &at, &name, &value);) {
        type = strcasecmp(name, "Content-Type") == 0 ? value : type;
        encoded = encoded || strcasecmp(name, "Content-Encoding") == 0;
    }
    remember_head(&r->relayed->memory, r, status, type, encoded);
}

static bool has_no_body(const struct request *r, unsigned status)
{
    return status == 204 || status == 304 || exchange_length(r->relayed->exchange) == 0 ||
           (request_is(r, "HEAD") && exchange_length(r->relayed->exchange) < 0);
}

enum MHD_Result relay_answer(struct request *r)
{
    char nothing[1];
    struct relayed *relayed = r->relayed;
    if (relayed->exchange == NULL)
        return answer_kept(r);
    int error = relayed->error < 0 ? relayed->error : exchange_head(relayed->exchange);
    unsigned status = exchange_status(relayed->exchange);
    relayed->open = status == 0 && error != -ECONNREFUSED;
    if (status >= 200 && status < 300)
        effects_apply(r);
    tee_end(relayed->tee, error == 0 && status >= 200 && status < 300);
    relayed->tee = NULL;
    if ((error < 0 || status >= 500) && remember_find(&relayed->memory, r, DOCUMENT_STALE, &relayed->kept)) {
        r->stale = true;
        return answer_kept(r);
    }
    if (error < 0)
        return fail(r, error);
    remember_answer(r, status);
    if (is_discovery(r, status))
        return answer_discovery(r);
    if (has_no_body(r, status) || request_is(r, "HEAD")) /* its end is here, too, so that the connection is good for more */
        exchange_read(relayed->exchange, nothing, sizeof(nothing));
    if (has_no_body(r, status))
        return queue(r, MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT));
    int64_t length = exchange_length(relayed->exchange);
    return queue(r, MHD_create_response_from_callback(length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)length, BLOCK_BYTES, on_read, relayed, NULL));
}

void relay_free(struct relayed *relayed)
{
    if (relayed == NULL)
        return;
    tee_end(relayed->tee, false);
    if (relayed->open)
        effects_apply(relayed->r);
    exchange_free(relayed->exchange);
    remember_end(&relayed->memory);
    free(relayed->kept.body);
    free(relayed);
}

void relay_restart_timeout(struct request *r)
{
    unsigned timeout = (unsigned)r->api->config->api.send_timeout;
    MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, 0u);
    MHD_set_connection_option(r->connection, MHD_CONNECTION_OPTION_TIMEOUT, timeout);
}
