/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked of libcurl for a transfer. Everything runs on the loop's thread; no lock.
 *
 * Options that only make a transfer better may be refused: one version of libcurl does not know them, another does not take them in
 * some state of a handle, and the bytes come without them as well. The others say what is wanted and of whom: without one of them the
 * request would be another, and it is not made.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Options being set on EASY. */
struct setting {
    CURL *easy;
    CURLcode code; /* of the first one that failed and matters */
    const char *option;
};

static void note(struct setting *s, CURLcode code, const char *option, bool must)
{
    if (code != CURLE_OK && (must || code == CURLE_OUT_OF_MEMORY) && s->code == CURLE_OK) {
        s->code = code;
        s->option = option;
    }
}

#define MUST(s, option, value) note(s, curl_easy_setopt((s)->easy, option, value), #option, true)
#define MAY(s, option, value) note(s, curl_easy_setopt((s)->easy, option, value), #option, false)

static void set_connection(struct setting *s, const struct config *config)
{
    MUST(s, CURLOPT_NOSIGNAL, 1L);
    MUST(s, CURLOPT_CONNECTTIMEOUT, (long)config->connect_timeout);
    MUST(s, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    MUST(s, CURLOPT_FOLLOWLOCATION, 0L);
    MAY(s, CURLOPT_TCP_NODELAY, 1L);
    MAY(s, CURLOPT_TCP_KEEPALIVE, 1L);
    MAY(s, CURLOPT_TCP_KEEPIDLE, 60L);
    MAY(s, CURLOPT_TCP_KEEPINTVL, 30L);
    MAY(s, CURLOPT_BUFFERSIZE, (long)TRANSFER_RECEIVE_MAX);
    MAY(s, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS); /* a libcurl without HTTP/2 */
#if LIBCURL_VERSION_NUM >= 0x075500
    MUST(s, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    MUST(s, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    MAY(s, CURLOPT_QUICK_EXIT, 1L); /* a cancelled transfer does not wait for the resolver */
#endif
}

static void set_trust(struct setting *s, const struct config *config, bool direct)
{
    if (direct) {
        MUST(s, CURLOPT_PROXY, ""); /* nor that of the environment */
    } else if (config->proxy) {
        MUST(s, CURLOPT_PROXY, config->proxy);
    }
    if (config->ca_file) {
        MUST(s, CURLOPT_CAINFO, config->ca_file);
        MAY(s, CURLOPT_CAPATH, NULL); /* this file instead of the system's authorities, not beside them */
    }
    if (config->client_cert_file) {
        MUST(s, CURLOPT_SSLCERT, config->client_cert_file);
    }
    if (config->client_key_file) {
        MUST(s, CURLOPT_SSLKEY, config->client_key_file);
    }
    if (config->insecure) {
        MUST(s, CURLOPT_SSL_VERIFYPEER, 0L);
        MUST(s, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer) {
        *list = longer;
    }
    return longer;
}

/* The headers as libcurl wants them: for it, a "Name:" without a value says that the header is not to be sent. */
static struct curl_slist *list_headers(const struct transfer_request *request, bool *good)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        const char *line = request->headers[i], *colon = strchr(line, ':');
        if (colon && colon[1 + strspn(colon + 1, " \t")] == '\0') {
            char *empty = NULL;
            *good = asprintf(&empty, "%.*s;", (int)(colon - line), line) >= 0 && add_header(&list, empty) && *good;
            free(empty);
        } else {
            *good = add_header(&list, line) && *good;
        }
    }
    if (request->body) {
        *good = add_header(&list, "Expect:") && *good;
        if (!transfer_request_find(request, "Content-Type")) {
            *good = add_header(&list, "Content-Type:") && *good;
        }
    }
    return list;
}

static void set_method(struct setting *s, const struct transfer *transfer)
{
    const struct transfer_request *request = &transfer->request;
    const char *method = transfer_method(request);
    if (strcmp(method, "HEAD") == 0) {
        MUST(s, CURLOPT_NOBODY, 1L);
    } else if (request->body || strcmp(method, "POST") == 0) {
        MUST(s, CURLOPT_POST, 1L);
        MUST(s, CURLOPT_POSTFIELDS, request->body ? (const char *)request->body : "");
        MUST(s, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        MUST(s, CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "GET") != 0) {
        MUST(s, CURLOPT_CUSTOMREQUEST, method);
    }
}

static void set_request(struct setting *s, struct transfer *transfer)
{
    const struct transfer_request *request = &transfer->request;
    bool good = true;
    MUST(s, CURLOPT_URL, request->url);
    if (!request->aws_sigv4) { /* with a signature libcurl ≥ 8.14 refuses it; there are no steps in such a path, see s3.c */
        MUST(s, CURLOPT_PATH_AS_IS, 1L);
    }
    MAY(s, CURLOPT_USERAGENT, "glance-cache-fs");
    set_method(s, transfer);
    if (request->ranged) {
        char range[48];
        snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, request->first, request->last);
        MUST(s, CURLOPT_RANGE, range);
    }
    transfer->header_list = list_headers(request, &good);
    note(s, good ? CURLE_OK : CURLE_OUT_OF_MEMORY, "a header", true);
    MUST(s, CURLOPT_HTTPHEADER, transfer->header_list);
    if (request->fresh) {
        MAY(s, CURLOPT_FRESH_CONNECT, 1L);
    }
    if (request->user_password) {
        MUST(s, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        MUST(s, CURLOPT_USERPWD, request->user_password);
    }
    if (request->aws_sigv4) {
        MUST(s, CURLOPT_AWS_SIGV4, request->aws_sigv4);
    }
}

/* When a transfer counts as stalled: libcurl does not count the pauses that keep it to its cap, see over_cap(). */
static void set_rate(struct setting *s, const struct transfer *transfer)
{
    const struct config *config = transfer->loop->config;
    uint64_t rate = transfer->request.max_rate, limit = config->stall_rate;
    if (rate > 0 && rate / 2 < limit) {
        limit = rate / 2;
    }
    if (limit > INT32_MAX) {
        limit = INT32_MAX;
    }
    MUST(s, CURLOPT_LOW_SPEED_LIMIT, (long)(limit > 0 ? limit : 1));
    uint64_t patience = transfer->request.patience;
    MUST(s, CURLOPT_LOW_SPEED_TIME, (long)(patience > 0 && patience < config->stall_timeout ? patience : config->stall_timeout));
}

void transfer_http_set_rate(struct transfer *transfer)
{
    struct setting s = {.easy = transfer->easy};
    if (transfer->easy) {
        set_rate(&s, transfer);
    }
}

int transfer_http_configure(struct transfer *transfer, CURL *easy)
{
    struct setting s = {.easy = easy};
    set_connection(&s, transfer->loop->config);
    set_trust(&s, transfer->loop->config, transfer->request.direct);
    set_request(&s, transfer);
    set_rate(&s, transfer);
    if (s.code == CURLE_OK) {
        return 0;
    }
    snprintf(transfer->result.message, sizeof transfer->result.message, "libcurl does not take %s: %s", s.option,
             curl_easy_strerror(s.code));
    return s.code == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
}
