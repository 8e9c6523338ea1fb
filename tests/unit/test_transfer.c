/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers over HTTP, against a server in this process that does what servers should not: ranges and what is wrong with
 * them, redirects and what must not follow them, every way to end too early; and the loop: posts, timers, cancelling, stopping.
 */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "http_server.h"
#include "transfer_test.h"

enum { PLAIN = 3 * 1024 * 1024 + 17 }; /* bytes of /plain */

static struct http_server *server, *other; /* two hosts, as far as a client can tell */

/* ---- what the server does */

static bool serve_plain(struct http_exchange *x)
{
    uint64_t first = 0, last = PLAIN - 1;
    char range[64];
    bool ranged = http_header(x, "Range", range, sizeof range);
    if (ranged) {
        assert(sscanf(range, "bytes=%" SCNu64 "-%" SCNu64, &first, &last) == 2);
        last = last < PLAIN ? last : PLAIN - 1;
    }
    if (first >= PLAIN) {
        return http_sendf(x, "HTTP/1.1 416 No\r\nContent-Range: bytes */%d\r\nContent-Length: 0\r\n\r\n", PLAIN);
    }
    char content_range[128] = "";
    if (ranged) {
        snprintf(content_range, sizeof content_range, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%d\r\n", first, last, PLAIN);
    }
    bool good = http_sendf(x, "HTTP/1.1 %s\r\nETag: \"old\"\r\nX-Two: 1\r\nx-tWO:  2 \r\nETag: \"v1\"\r\n%sContent-Length: %" PRIu64
                           "\r\n\r\n", ranged ? "206 Partial" : "200 OK", content_range, last - first + 1);
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
    return http_sendf(x, "HTTP/1.1 302 Found\r\nLocation: %s\r\nX-Kind: redirect\r\nContent-Length: 4\r\n\r\nnext", target);
}

static bool serve_elsewhere(struct http_exchange *x)
{
    return http_sendf(x, "HTTP/1.1 %s Away\r\nLocation: http://127.0.0.1:%u/plain\r\nContent-Length: 0\r\n\r\n",
                      strchr(x->path, '?') + 1, http_server_port(other));
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

static int start_servers(void **state)
{
    (void)state;
    const size_t count = sizeof handlers / sizeof *handlers;
    server = http_server_start(handlers, count, NULL);
    other = http_server_start(handlers, count, NULL);
    return test_loop_start(state);
}

static int stop_servers(void **state)
{
    int r = test_loop_stop(state);
    http_server_stop(server);
    http_server_stop(other);
    return r;
}

/* ---- helpers */

static struct transfer_request get(const char *path)
{
    struct transfer_request request = {0};
    assert_true(asprintf(&request.url, "http://127.0.0.1:%u%s", http_server_port(server), path) > 0);
    return request;
}

/* Fetches PATH and checks the three things that every end must have: how, which status, how often on_head was called. */
static struct outcome *expect(const char *path, int error, int status, unsigned heads)
{
    struct transfer_request request = get(path);
    struct outcome *outcome = test_fetch(&request);
    if (outcome->error != error || outcome->result.status != status || outcome->heads != heads) {
        fail_msg("%s: error %d (%s), status %d, %u heads", path, outcome->error, outcome->result.message,
                 outcome->result.status, outcome->heads);
    }
    assert_true(error == 0 || *outcome->result.message);
    return outcome;
}

static void expect_only(const char *path, int error, int status, unsigned heads)
{
    outcome_free(expect(path, error, status, heads));
}

/* ---- requests as values */

static void test_headers_cannot_be_forged(void **state)
{
    (void)state;
    struct transfer_request request = {0};
    assert_int_equal(transfer_request_header(&request, "X-A", "b\r\nX-C: d"), -EINVAL);
    assert_int_equal(transfer_request_header(&request, "X-A", "b\n"), -EINVAL);
    assert_int_equal(transfer_request_header(&request, "X\r\nA", "b"), -EINVAL);
    assert_int_equal(transfer_request_header(&request, "", "b"), -EINVAL);
    assert_int_equal(request.header_count, 0);
    assert_int_equal(transfer_request_header(&request, "X-A", "b"), 0);
    assert_string_equal(request.headers[0], "X-A: b");
    transfer_request_clear(&request);
    assert_int_equal(request.header_count, 0);
    assert_null(request.headers);
}

static void test_escaping(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"abcXYZ019-._~", "abcXYZ019-._~"}, {"a/b", "a%2Fb"}, {"100%", "100%25"},   {"a b?c#d&e+f", "a%20b%3Fc%23d%26e%2Bf"},
        {"..", "%2E%2E"}, {".", "%2E"}, {"..a", "..a"}, {"\xc3\xa9", "%C3%A9"}, {"\x01\x7f", "%01%7F"}, {"", ""},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char *escaped = transfer_escape(pairs[i][0]);
        assert_string_equal(escaped, pairs[i][1]);
        assert_int_equal(transfer_unescape(escaped), strlen(pairs[i][0]));
        assert_string_equal(escaped, pairs[i][0]);
        free(escaped);
    }
    char odd[] = "%4a%4%zz%", nul[] = "%41%00";
    assert_int_equal(transfer_unescape(odd), 7);
    assert_string_equal(odd, "J%4%zz%");
    assert_int_equal(transfer_unescape(nul), -EINVAL);
    assert_string_equal(nul, "%41%00");
}

static void test_impossible_requests(void **state)
{
    (void)state;
    static const char *const urls[] = {"ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1/x", "http://", "nonsense", ""};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct transfer_request request = {.url = strdup(urls[i])};
        assert_int_equal(test_start_error(&request), -EINVAL);
        transfer_request_clear(&request);
    }
    struct transfer_request request = {0};
    assert_int_equal(test_start_error(&request), -EINVAL);
    request = get("/plain");
    request.ranged = true;
    request.first = 2;
    request.last = 1;
    assert_int_equal(test_start_error(&request), -EINVAL);
    request.ranged = false;
    request.path = strdup("/dev/null");
    assert_int_equal(test_start_error(&request), -EINVAL);
    transfer_request_clear(&request);
}

/* ---- answers */

static void test_whole(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/plain", 0, 200, 1);
    assert_int_equal(outcome->length, PLAIN);
    assert_int_equal(outcome->result.received, PLAIN);
    assert_true(test_is_pattern(outcome->data, 0, PLAIN));
    assert_int_equal(outcome->head.length, PLAIN);
    assert_false(outcome->head.ranged);
    outcome_free(outcome);
}

static void test_range(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    request.ranged = true;
    request.first = 1000;
    request.last = 1000 + 65535;
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->result.status, 206);
    assert_true(outcome->head.ranged);
    assert_int_equal(outcome->head.first, 1000);
    assert_int_equal(outcome->head.last, 1000 + 65535);
    assert_int_equal(outcome->head.total, PLAIN);
    assert_int_equal(outcome->length, 65536);
    assert_true(test_is_pattern(outcome->data, 1000, 65536));
    outcome_free(outcome);
}

static void test_unsatisfied_range(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    request.ranged = true;
    request.first = request.last = PLAIN;
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->result.status, 416);
    assert_true(outcome->head.ranged);
    assert_true(outcome->head.first > outcome->head.last);
    assert_int_equal(outcome->head.total, PLAIN);
    outcome_free(outcome);
}

static void test_head_method(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    request.method = "HEAD";
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->heads, 1);
    assert_int_equal(outcome->head.length, PLAIN);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
}

static void test_headers_by_name(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    struct outcome *outcome = test_fetch_asking(&request, "eTaG");
    assert_string_equal(outcome->header, "\"v1\"");
    outcome_free(outcome);
    request = get("/plain");
    outcome = test_fetch_asking(&request, "X-TWO");
    assert_string_equal(outcome->header, "2");
    outcome_free(outcome);
    request = get("/plain");
    outcome = test_fetch_asking(&request, "X-Tw");
    assert_null(outcome->header);
    outcome_free(outcome);
}

static void test_headers_are_bounded(void **state)
{
    (void)state;
    struct transfer_request request = get("/many-headers");
    struct outcome *outcome = test_fetch_asking(&request, "X-First");
    assert_int_equal(outcome->error, 0);
    assert_string_equal(outcome->header, "here");
    outcome_free(outcome);
    request = get("/many-headers");
    outcome = test_fetch_asking(&request, "X-89");
    assert_null(outcome->header);
    assert_int_equal(outcome->length, 2);
    outcome_free(outcome);
}

static void test_empty_body_has_a_head(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/empty", 0, 200, 1);
    assert_int_equal(outcome->head.length, 0);
    outcome_free(outcome);
}

static void test_error_status_has_a_body(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/absent", 0, 404, 1);
    assert_int_equal(outcome->length, 9);
    outcome_free(outcome);
}

static void test_chunked_and_trailer(void **state)
{
    (void)state;
    struct transfer_request request = get("/chunked");
    struct outcome *outcome = test_fetch_asking(&request, "X-Kind");
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->heads, 1);
    assert_true(outcome->head.length == TRANSFER_LENGTH_UNKNOWN);
    assert_int_equal(outcome->length, 11);
    assert_memory_equal(outcome->data, "hello world", 11);
    assert_string_equal(outcome->header, "head");
    outcome_free(outcome);
}

static void test_interim_answers_are_none(void **state)
{
    (void)state;
    struct transfer_request request = get("/early");
    struct outcome *outcome = test_fetch_asking(&request, "X-Kind");
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->heads, 1);
    assert_int_equal(outcome->result.status, 200);
    assert_string_equal(outcome->header, "200");
    outcome_free(outcome);
    request = get("/early");
    outcome = test_fetch_asking(&request, "X-Hint");
    assert_null(outcome->header);
    outcome_free(outcome);
}

static void test_senseless_ranges(void **state)
{
    (void)state;
    static const char *const senseless[] = {
        "bytes+0-3", "bytes+3-0/10", "bytes+0-3/2", "bytes+0-3/", "items+0-3/10", "bytes+0-3/10x", "bytes+-3/10",
        "bytes+0-/10", "bytes+*/10", "bytes+0-7/10", "bytes+0-99999999999999999999/*", "bytes+0-3/18446744073709551615", "+",
    };
    char path[128];
    for (size_t i = 0; i < sizeof senseless / sizeof *senseless; i++) {
        snprintf(path, sizeof path, "/headers?status=206&Content-Range:%s", senseless[i]);
        struct outcome *outcome = expect(path, 0, 206, 1);
        if (outcome->head.ranged) {
            fail_msg("%s makes no sense", senseless[i]);
        }
        assert_true(outcome->head.total == TRANSFER_LENGTH_UNKNOWN);
        outcome_free(outcome);
    }
    struct outcome *outcome = expect("/headers?status=206&Content-Range:bytes+2-5/*", 0, 206, 1);
    assert_true(outcome->head.ranged && outcome->head.total == TRANSFER_LENGTH_UNKNOWN);
    outcome_free(outcome);
    outcome = expect("/headers?status=200&Content-Range:bytes+0-3/10", 0, 200, 1);
    assert_false(outcome->head.ranged);
    outcome_free(outcome);
}

static void test_retry_after(void **state)
{
    (void)state;
    static const struct {
        const char *value;
        unsigned seconds;
    } cases[] = {{"7", 7}, {"0", 0}, {"99999", 3600}, {"soon", 0}, {"-5", 0}, {"Sun,+06+Nov+1994+08:49:37+GMT", 0}};
    char path[128], date[64];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(path, sizeof path, "/headers?status=503&Retry-After:%s", cases[i].value);
        struct outcome *outcome = expect(path, 0, 503, 1);
        assert_int_equal(outcome->head.retry_after, cases[i].seconds);
        outcome_free(outcome);
    }
    const time_t then = time(NULL) + 600;
    struct tm utc;
    strftime(date, sizeof date, "%a,+%d+%b+%Y+%H:%M:%S+GMT", gmtime_r(&then, &utc));
    snprintf(path, sizeof path, "/headers?status=503&Retry-After:%s", date);
    struct outcome *outcome = expect(path, 0, 503, 1);
    assert_in_range(outcome->head.retry_after, 500, 600);
    outcome_free(outcome);
}

static void test_not_modified_has_no_body(void **state)
{
    (void)state;
    struct transfer_request request = get("/headers?status=304");
    struct outcome *outcome = test_fetch(&request); /* its Content-Length speaks of a body that does not come */
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->head.status, 304);
    outcome_free(outcome);
}

static void test_requests_as_sent(void **state)
{
    (void)state;
    struct transfer_request request = get("/post");
    request.method = "POST";
    request.body = strdup("{\"a\": 1}");
    request.body_length = 8;
    request.user_password = strdup("user:pass:word");
    assert_int_equal(transfer_request_header(&request, "X-Empty", ""), 0);
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->length, 8);
    assert_memory_equal(outcome->data, "{\"a\": 1}", 8);
    outcome_free(outcome);
    char *seen = http_server_request(server, "/post");
    assert_non_null(strstr(seen, "\r\nAuthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
    assert_null(strcasestr(seen, "\r\nContent-Type:"));
    assert_null(strcasestr(seen, "\r\nAccept-Encoding:"));
    assert_null(strcasestr(seen, "\r\nExpect:"));
    free(seen);
    expect_only("/%2E%2E", 0, 200, 1); /* dots are a name here, not a step */
}

/* ---- ends */

static void test_broken_answers(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/short", -ECONNRESET, 200, 1);
    assert_int_equal(outcome->result.received, 13);
    outcome_free(outcome);
    expect_only("/no-answer", -ECONNRESET, 0, 0);
    expect_only("/half-head", -ECONNRESET, 0, 0);
    expect_only("/garbage", -EPROTO, 0, 0);
}

static void test_stalls(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/stall", -ETIMEDOUT, 200, 1);
    assert_int_equal(outcome->result.received, 16); /* what had come was not held back */
    outcome_free(outcome);
    expect_only("/silence", -ETIMEDOUT, 0, 0);
}

static void test_refused(void **state)
{
    (void)state;
    struct http_server *gone = http_server_start(handlers, 1, NULL);
    struct transfer_request request = {0};
    assert_true(asprintf(&request.url, "http://127.0.0.1:%u/", http_server_port(gone)) > 0);
    http_server_stop(gone);
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, -ECONNREFUSED);
    assert_int_equal(outcome->heads, 0);
    assert_true(*outcome->result.message);
    outcome_free(outcome);
}

static void test_a_cap_is_no_stall(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    request.ranged = true;
    request.last = 400 * 1024 - 1;
    request.max_rate = 100 * 1024; /* for longer than the stall time-out, and slower than the stall rate */
    struct timespec before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    struct outcome *outcome = test_fetch(&request);
    clock_gettime(CLOCK_MONOTONIC, &after);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->length, 400 * 1024);
    assert_true(after.tv_sec - before.tv_sec >= 3); /* four seconds, less the tenth it may be ahead */
    outcome_free(outcome);
}

static void test_callback_errors_come_back(void **state)
{
    (void)state;
    struct transfer_request request = get("/plain");
    struct outcome *outcome = test_fetch_failing(&request, -EDOM, 0);
    assert_int_equal(outcome->error, -EDOM);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
    request = get("/plain");
    outcome = test_fetch_failing(&request, 0, -EXDEV);
    assert_int_equal(outcome->error, -EXDEV);
    assert_int_equal(outcome->result.status, 200);
    outcome_free(outcome);
    request = get("/empty");
    outcome = test_fetch_failing(&request, -EDOM, 0);
    assert_int_equal(outcome->error, -EDOM);
    outcome_free(outcome);
}

/* ---- redirects */

static void test_redirects(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/hop?5", 0, 200, 1);
    assert_true(outcome->length == PLAIN && test_is_pattern(outcome->data, 0, PLAIN));
    outcome_free(outcome);
    expect_only("/hop?6", -ELOOP, 0, 0);
    expect_only("/big-redirect", 0, 200, 1);
    expect_only("/headers?status=302&Location:ftp://127.0.0.1/", -EPROTO, 0, 0);
    expect_only("/headers?status=302&Location:file:///etc/passwd", -EPROTO, 0, 0);
    expect_only("/headers?status=302", 0, 302, 1); /* to nowhere: that is the answer */
    expect_only("/headers?status=300&Location:/plain", 0, 300, 1);
}

static struct transfer_request with_secrets(const char *path)
{
    static const char *const secrets[] = {"Authorization", "X-Auth-Token", "Cookie", "X-Amz-Security-Token"};
    struct transfer_request request = get(path);
    for (size_t i = 0; i < sizeof secrets / sizeof *secrets; i++) {
        assert_int_equal(transfer_request_header(&request, secrets[i], "sesame"), 0);
    }
    assert_int_equal(transfer_request_header(&request, "If-Match", "\"v1\""), 0);
    request.ranged = true;
    request.last = 9;
    return request;
}

static void test_secrets_stay(void **state)
{
    (void)state;
    struct transfer_request request = with_secrets("/elsewhere?302");
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->length, 10);
    outcome_free(outcome);
    char *seen = http_server_request(other, "/plain");
    assert_null(strcasestr(seen, "sesame"));
    assert_null(strcasestr(seen, "authorization"));
    assert_non_null(strstr(seen, "\r\nIf-Match: \"v1\"\r\n"));
    assert_non_null(strstr(seen, "\r\nRange: bytes=0-9\r\n"));
    free(seen);

    request = get("/elsewhere?302");
    request.user_password = strdup("user:word");
    outcome_free(test_fetch(&request));
    seen = http_server_request(other, "/plain");
    assert_null(strcasestr(seen, "authorization"));
    free(seen);

    request = with_secrets("/hop?1");
    outcome_free(test_fetch(&request));
    seen = http_server_request(server, "/plain");
    assert_non_null(strstr(seen, "\r\nX-Auth-Token: sesame\r\n"));
    assert_non_null(strstr(seen, "\r\nAuthorization: sesame\r\n"));
    free(seen);
}

static void test_userinfo_stays_with_its_host(void **state)
{
    (void)state;
    struct transfer_request request = {0};
    assert_true(asprintf(&request.url, "http://user:word@127.0.0.1:%u/hop?1", http_server_port(server)) > 0);
    outcome_free(test_fetch(&request));
    char *seen = http_server_request(server, "/plain");
    assert_non_null(strstr(seen, "\r\nAuthorization: Basic dXNlcjp3b3Jk\r\n"));
    free(seen);
    assert_true(asprintf(&request.url, "http://user:word@127.0.0.1:%u/elsewhere?301", http_server_port(server)) > 0);
    outcome_free(test_fetch(&request));
    seen = http_server_request(other, "/plain");
    assert_null(strcasestr(seen, "authorization"));
    free(seen);
}

static struct transfer_request post(const char *path)
{
    struct transfer_request request = get(path);
    request.method = "POST";
    request.body = strdup("password");
    request.body_length = 8;
    return request;
}

static void test_redirected_posts(void **state)
{
    (void)state;
    struct transfer_request request = post("/see-other");
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->length, PLAIN);
    outcome_free(outcome);
    char *seen = http_server_request(server, "/plain");
    assert_memory_equal(seen, "GET ", 4);
    assert_null(strstr(seen, "password"));
    free(seen);

    request = post("/headers?status=307&Location:/post");
    outcome = test_fetch(&request);
    assert_int_equal(outcome->length, 8);
    outcome_free(outcome);

    unsigned before = http_server_requests(other, "/plain");
    request = post("/elsewhere?307");
    outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->result.status, 307); /* the caller's to decide */
    outcome_free(outcome);
    assert_int_equal(http_server_requests(other, "/plain"), before);
}

/* ---- connections */

static void test_connections_are_kept(void **state)
{
    (void)state;
    expect_only("/empty", 0, 200, 1);
    unsigned before = http_server_connections(server);
    for (int i = 0; i < 20; i++) {
        expect_only("/empty", 0, 200, 1);
    }
    assert_int_equal(http_server_connections(server), before);
}

static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct transfer_request requests[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        requests[i] = get("/plain");
        requests[i].ranged = true;
        requests[i].first = i * 1000;
        requests[i].last = PLAIN - 1 - i;
    }
    struct outcome *outcomes[MANY];
    test_fetch_all(requests, MANY, outcomes);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(outcomes[i]->error, 0);
        assert_int_equal(outcomes[i]->length, PLAIN - i - i * 1000);
        assert_true(test_is_pattern(outcomes[i]->data, i * 1000, outcomes[i]->length));
        outcome_free(outcomes[i]);
    }
}

/* ---- cancelling, from wherever it may be done */

struct scene {
    struct transfer *victim;
    struct transfers *loop;
    bool on_head;      /* when to cancel */
    unsigned victim_calls_afterwards;
    struct transfer_request again;
    struct outcome *second;
};

static int victim_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    (void)head, (void)data, (void)length;
    struct scene *scene = context;
    scene->victim_calls_afterwards += !scene->victim;
    return 0;
}

static void victim_done(void *context, int error, const struct transfer_result *result)
{
    (void)context, (void)error, (void)result;
    fail_msg("a cancelled transfer must not end");
}

static const struct transfer_ops victim_ops = {.on_data = victim_data, .on_done = victim_done};

static void cancel_victim(struct scene *scene)
{
    if (scene->victim) {
        transfer_cancel(scene->victim);
        scene->victim = NULL;
        test_start_on_loop(scene->loop, &scene->again, &scene->second); /* starting from a callback is as safe */
    }
}

static int canceller_head(void *context, const struct transfer_head *head)
{
    (void)head;
    struct scene *scene = context;
    if (scene->on_head) {
        cancel_victim(scene);
    }
    return 0;
}

static int canceller_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    (void)head, (void)data, (void)length;
    cancel_victim(context);
    return 0;
}

static void canceller_done(void *context, int error, const struct transfer_result *result)
{
    (void)error, (void)result;
    cancel_victim(context);
    test_loop_signal();
}

static void test_cancel_from_other_callbacks(void **state)
{
    (void)state;
    static const struct {
        const char *victim, *canceller;
        bool on_head;
    } cases[] = {{"/plain", "/plain", true}, {"/plain", "/plain", false}, {"/stall", "/plain", false},
                 {"/silence", "/empty", false}, {"/hop?3", "/empty", true}, {"/plain", "/short", false}};
    static const struct transfer_ops canceller_ops = {canceller_head, canceller_data, canceller_done};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene scene = {.loop = test_loop(), .on_head = cases[i].on_head, .again = get("/plain")};
        struct transfer_request victim = get(cases[i].victim), canceller = get(cases[i].canceller);
        test_start_pair(&victim, &victim_ops, &scene.victim, &canceller, &canceller_ops, &scene);
        test_loop_wait();
        assert_int_equal(scene.victim_calls_afterwards, 0);
        test_wait_outcome(scene.second);
        assert_int_equal(scene.second->error, 0);
        assert_int_equal(scene.second->length, PLAIN);
        outcome_free(scene.second);
    }
}

/* ---- the loop */

struct notes {
    struct transfers *loop;
    char text[32];
    size_t length;
    struct transfer_timer *doomed;
};

static struct notes notes;
static char letter_p[] = "p";

static void note(void *letter)
{
    notes.text[notes.length++] = *(const char *)letter;
}

static void signal_loop(void *unused)
{
    (void)unused;
    test_loop_signal();
}

static void cancel_doomed(void *unused)
{
    (void)unused;
    transfers_timer_cancel(notes.loop, notes.doomed);
}

/* A timer of MS that notes LETTER. */
static struct transfer_timer *timer_in(uint64_t ms, void (*fn)(void *), const char *letter)
{
    static char letters[] = "abcxy";
    struct transfer_timer *timer;
    int r = transfers_timer(notes.loop, ms, fn, strchr(letters, *letter), &timer);
    assert(r == 0);
    return timer;
}

static void set_timers(void *unused)
{
    (void)unused;
    timer_in(40, signal_loop, "");
    timer_in(20, note, "c");
    timer_in(5, note, "a");
    timer_in(5, note, "b");
    notes.doomed = timer_in(30, note, "x");
    timer_in(10, cancel_doomed, "");
    transfers_timer_cancel(notes.loop, timer_in(UINT64_MAX, note, "y"));
    transfers_timer_cancel(notes.loop, NULL);
}

static void test_timers(void **state)
{
    (void)state;
    notes = (struct notes){.loop = test_loop()};
    assert_int_equal(transfers_post(notes.loop, set_timers, NULL), 0);
    test_loop_wait();
    assert_string_equal(notes.text, "abc");
}

static void test_posts_keep_their_order(void **state)
{
    (void)state;
    notes = (struct notes){.loop = test_loop()};
    static char letters[] = "the quick brown fox";
    for (size_t i = 0; letters[i]; i++) {
        assert_int_equal(transfers_post(notes.loop, note, &letters[i]), 0);
    }
    assert_int_equal(transfers_post(notes.loop, signal_loop, NULL), 0);
    test_loop_wait();
    assert_string_equal(notes.text, letters);
}

static void post_again(void *unused)
{
    (void)unused;
    int r = transfers_post(notes.loop, note, letter_p);
    assert(r == 0);
}

static void test_stop(void **state)
{
    (void)state;
    struct transfer_request request = get("/stall");
    struct outcome *waiting = test_start(&request);
    test_wait_head(waiting);
    notes = (struct notes){.loop = test_loop()};
    transfers_stop(notes.loop);
    int posted = transfers_post(notes.loop, post_again, NULL); /* in time, or not */
    test_wait_outcome(waiting);
    assert_int_equal(waiting->error, -ECANCELED);
    outcome_free(waiting);
    test_loop_join();
    assert_int_equal(transfers_post(notes.loop, note, letter_p), -ECANCELED);
    assert_string_equal(notes.text, posted == 0 ? "p" : "");
}

static void test_free_without_run(void **state)
{
    (void)state;
    struct transfers *t;
    struct outcome *outcome;
    struct transfer_request request = get("/plain");
    assert_int_equal(transfers_new(test_config(), &t), 0);
    test_start_on_loop(t, &request, &outcome);
    notes = (struct notes){.loop = t};
    assert_int_equal(transfers_post(t, note, letter_p), 0);
    transfers_free(t);
    assert_int_equal(outcome->error, -ECANCELED);
    assert_string_equal(notes.text, "p");
    outcome_free(outcome);
    transfers_free(NULL);
}

/* ---- on the caller's thread */

static void test_perform(void **state)
{
    (void)state;
    unsigned before = http_server_connections(server);
    for (int i = 0; i < 3; i++) {
        struct transfer_request request = get("/plain");
        struct outcome *outcome = test_perform_outcome(&request);
        assert_int_equal(outcome->error, 0);
        assert_true(outcome->length == PLAIN && test_is_pattern(outcome->data, 0, PLAIN));
        outcome_free(outcome);
    }
    assert_int_equal(http_server_connections(server), before + 1);
    struct transfer_request wrong = {.url = strdup("gopher://127.0.0.1/")};
    struct outcome *outcome = test_perform_outcome(&wrong);
    assert_int_equal(outcome->error, -EINVAL);
    outcome_free(outcome);
}

static void *perform_stall(void *ret)
{
    struct transfer_request request = get("/stall");
    *(struct outcome **)ret = test_perform_outcome(&request);
    return NULL;
}

static void test_stop_ends_performers(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct outcome *outcomes[THREADS];
    unsigned before = http_server_requests(server, "/stall");
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, perform_stall, &outcomes[i]), 0);
    }
    while (http_server_requests(server, "/stall") < before + THREADS) {
        sched_yield();
    }
    transfers_stop(test_loop());
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(outcomes[i]->error, -ECANCELED);
        outcome_free(outcomes[i]);
    }
    struct transfer_request request = get("/plain");
    struct outcome *late = test_perform_outcome(&request);
    assert_int_equal(late->error, -ECANCELED);
    outcome_free(late);
    test_loop_join();
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, start_servers, stop_servers)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_cannot_be_forged),
        cmocka_unit_test(test_escaping),
        IN_LOOP(test_impossible_requests),
        IN_LOOP(test_whole),
        IN_LOOP(test_range),
        IN_LOOP(test_unsatisfied_range),
        IN_LOOP(test_head_method),
        IN_LOOP(test_headers_by_name),
        IN_LOOP(test_headers_are_bounded),
        IN_LOOP(test_empty_body_has_a_head),
        IN_LOOP(test_error_status_has_a_body),
        IN_LOOP(test_chunked_and_trailer),
        IN_LOOP(test_interim_answers_are_none),
        IN_LOOP(test_senseless_ranges),
        IN_LOOP(test_retry_after),
        IN_LOOP(test_not_modified_has_no_body),
        IN_LOOP(test_requests_as_sent),
        IN_LOOP(test_broken_answers),
        IN_LOOP(test_stalls),
        IN_LOOP(test_refused),
        IN_LOOP(test_a_cap_is_no_stall),
        IN_LOOP(test_callback_errors_come_back),
        IN_LOOP(test_redirects),
        IN_LOOP(test_secrets_stay),
        IN_LOOP(test_userinfo_stays_with_its_host),
        IN_LOOP(test_redirected_posts),
        IN_LOOP(test_connections_are_kept),
        IN_LOOP(test_many_at_once),
        IN_LOOP(test_cancel_from_other_callbacks),
        IN_LOOP(test_timers),
        IN_LOOP(test_posts_keep_their_order),
        IN_LOOP(test_stop),
        IN_LOOP(test_free_without_run),
        IN_LOOP(test_perform),
        IN_LOOP(test_stop_ends_performers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
