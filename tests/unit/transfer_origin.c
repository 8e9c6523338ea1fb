/* SPDX-License-Identifier: Apache-2.0 */
/* See transfer_origin.h. Runs on the server's threads, where cmocka's checks must not be used. */
#include "config-auto.h"

#include "transfer_origin.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "transfer_test.h"

struct http_server *origin, *other_origin;

static bool serve_plain(struct http_exchange *x)
{
    uint64_t first = 0, last = ORIGIN_PLAIN - 1;
    char range[64];
    bool ranged = http_header(x, "Range", range, sizeof range);
    if (ranged) {
        assert(sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last) == 2);
        last = last < ORIGIN_PLAIN ? last : ORIGIN_PLAIN - 1;
    }
    if (first >= ORIGIN_PLAIN) {
        return http_sendf(x, "HTTP/1.1 416 No\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n\r\n", ORIGIN_PLAIN);
    }
    char content_range[128] = "";
    if (ranged) {
        snprintf(content_range, sizeof content_range, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%d\r\n", first,
                 last, ORIGIN_PLAIN);
    }
    bool good = http_sendf(x, "HTTP/1.1 %s\r\nETag: \"old\"\r\nX-Two: 1\r\nx-tWO:  2 \r\nETag: \"v1\"\r\n"
                           "%sContent-Length: %" PRIu64 "\r\n\r\n",
                           ranged ? "206 Partial" : "200 OK", content_range, last - first + 1);
    if (strcmp(x->method, "HEAD") == 0) {
        return good;
    }
    char *body = test_pattern(first, last - first + 1);
    good = good && http_send(x, body, last - first + 1);
    free(body);
    return good;
}

static bool serve_empty(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

static bool serve_chunked(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Kind: head\r\n\r\n"
                         "5\r\nhello\r\n6\r\n world\r\n0\r\nX-Kind: trailer\r\n\r\n");
}

static bool serve_early(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 100 Continue\r\nX-Kind: 100\r\n\r\nHTTP/1.1 103 Early Hints\r\nX-Hint: yes\r\n\r\n"
                         "HTTP/1.1 200 OK\r\nX-Kind: 200\r\nContent-Length: 2\r\n\r\nok");
}

static bool serve_short(struct http_exchange *x)
{
    http_sendf(x, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nnot all of it");
    return false;
}

static bool serve_no_answer(struct http_exchange *x)
{
    (void)x;
    return false;
}

static bool serve_half_head(struct http_exchange *x)
{
    http_sendf(x, "HTTP/1.1 200 OK\r\nContent-Le");
    return false;
}

static bool serve_stall(struct http_exchange *x)
{
    http_sendf(x, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nand then nothing");
    http_wait_for_client(x);
    return false;
}

static bool serve_silence(struct http_exchange *x)
{
    http_wait_for_client(x);
    return false;
}

static bool serve_garbage(struct http_exchange *x)
{
    http_sendf(x, "220 this is no web server\r\n");
    return false;
}

static bool serve_many_headers(struct http_exchange *x)
{
    http_sendf(x, "HTTP/1.1 200 OK\r\nX-First: here\r\n");
    for (int i = 0; i < 90; i++) { /* 90 KiB: more than is kept, less than libcurl takes */
        http_sendf(x, "X-%d: %01000d\r\n", i, i);
    }
    return http_sendf(x, "Content-Length: 2\r\n\r\nok");
}

/* "?" in the path is followed by header lines, with "&" for the line's end and "+" for a blank. */
static bool serve_headers(struct http_exchange *x)
{
    char headers[1024] = "";
    snprintf(headers, sizeof headers, "%s", strchr(x->path, '?') + 1);
    int status = 200;
    char *rest = headers;
    if (strncmp(headers, "status=", 7) == 0) {
        status = (int)strtol(headers + 7, &rest, 10);
        rest += *rest == '&';
    }
    http_sendf(x, "HTTP/1.1 %d Whatever\r\n", status);
    for (char *line; (line = strsep(&rest, "&")) && *line;) {
        for (char *c = line; *c; c++) {
            *c = *c == '+' ? ' ' : *c;
        }
        http_sendf(x, "%s\r\n", line);
    }
    return http_sendf(x, "Content-Length: 4\r\n\r\nbody");
}

/* /hop?N: N redirects, then /plain; relative, so that resolving them is seen too. */
static bool serve_hop(struct http_exchange *x)
{
    long n = strtol(strchr(x->path, '?') + 1, NULL, 10);
    char target[64];
    snprintf(target, sizeof target, n > 1 ? "?%ld" : "./plain", n - 1);
    return http_sendf(x, "HTTP/1.1 302 Found\r\nLocation: %s\r\nX-Kind: redirect\r\n"
                         "Content-Length: 4\r\n\r\nnext", target);
}

static bool serve_elsewhere(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 %s Away\r\nLocation: http://127.0.0.1:%u/plain\r\nContent-Length: 0\r\n\r\n",
                      strchr(x->path, '?') + 1, http_server_port(other_origin));
}

static bool serve_big_redirect(struct http_exchange *x)
{
    char *body = test_pattern(0, 1024 * 1024);
    http_sendf(x, "HTTP/1.1 301 Moved\r\nLocation: /plain\r\nContent-Length: 1048576\r\n\r\n");
    bool good = http_send(x, body, 1024 * 1024);
    free(body);
    return good;
}

static bool serve_post(struct http_exchange *x)
{
    const char *body = strstr(x->text, "\r\n\r\n") + 4;
    return http_sendf(x, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", strlen(body), body);
}

static bool serve_see_other(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 303 See\r\nLocation: /plain\r\nContent-Length: 0\r\n\r\n");
}

static const struct http_handler handlers[] = {
    {"/plain", serve_plain},     {"/empty", serve_empty},         {"/chunked", serve_chunked},
    {"/early", serve_early},     {"/short", serve_short},         {"/no-answer", serve_no_answer},
    {"/half-head", serve_half_head}, {"/stall", serve_stall},     {"/silence", serve_silence},
    {"/garbage", serve_garbage}, {"/many-headers", serve_many_headers}, {"/headers", serve_headers},
    {"/hop", serve_hop},         {"/elsewhere", serve_elsewhere}, {"/big-redirect", serve_big_redirect},
    {"/post", serve_post},       {"/see-other", serve_see_other}, {"/%2E%2E", serve_empty},
};

int origin_start(void **state)
{
    (void)state;
    const size_t count = sizeof handlers / sizeof *handlers;
    origin = http_server_start(handlers, count, NULL);
    other_origin = http_server_start(handlers, count, NULL);
    return test_loop_start(state);
}

int origin_stop(void **state)
{
    int r = test_loop_stop(state);
    http_server_stop(origin);
    http_server_stop(other_origin);
    return r;
}

struct transfer_request origin_get(const char *path)
{
    struct transfer_request request = {0};
    int length = asprintf(&request.url, "http://127.0.0.1:%u%s", http_server_port(origin), path);
    assert(length > 0);
    return request;
}
