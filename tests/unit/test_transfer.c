/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers over HTTP, against a server that does what servers should not: ranges and what is wrong with them,
 * redirects and what must not follow them, and every way to end too early.
 */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "transfer_origin.h"
#include "transfer_test.h"

/* ---- helpers */

/* Fetches PATH and checks three things of every end: the error, the status, how often on_head was called. */
static struct outcome *expect(const char *path, int error, int status, unsigned heads)
{
    struct transfer_request request = origin_get(path);
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
        {"abcXYZ019-._~", "abcXYZ019-._~"}, {"a/b", "a%2Fb"}, {"100%", "100%25"},
        {"a b?c#d&e+f", "a%20b%3Fc%23d%26e%2Bf"},
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
    static const char *const urls[] = {"ftp://127.0.0.1/x", "file:///etc/passwd", "127.0.0.1/x",
                                       "http://",           "nonsense",           ""};
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct transfer_request request = {.url = strdup(urls[i])};
        assert_int_equal(test_start_error(&request), -EINVAL);
        transfer_request_clear(&request);
    }
    struct transfer_request request = {0};
    assert_int_equal(test_start_error(&request), -EINVAL);
    request = origin_get("/plain");
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
    assert_int_equal(outcome->length, ORIGIN_PLAIN);
    assert_int_equal(outcome->result.received, ORIGIN_PLAIN);
    assert_true(test_is_pattern(outcome->data, 0, ORIGIN_PLAIN));
    assert_int_equal(outcome->head.length, ORIGIN_PLAIN);
    assert_false(outcome->head.ranged);
    outcome_free(outcome);
}

static void test_range(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/plain");
    request.ranged = true;
    request.first = 1000;
    request.last = 1000 + 65535;
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->result.status, 206);
    assert_true(outcome->head.ranged);
    assert_int_equal(outcome->head.first, 1000);
    assert_int_equal(outcome->head.last, 1000 + 65535);
    assert_int_equal(outcome->head.total, ORIGIN_PLAIN);
    assert_int_equal(outcome->length, 65536);
    assert_true(test_is_pattern(outcome->data, 1000, 65536));
    outcome_free(outcome);
}

static void test_unsatisfied_range(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/plain");
    request.ranged = true;
    request.first = request.last = ORIGIN_PLAIN;
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->result.status, 416);
    assert_true(outcome->head.ranged);
    assert_true(outcome->head.first > outcome->head.last);
    assert_int_equal(outcome->head.total, ORIGIN_PLAIN);
    outcome_free(outcome);
}

static void test_head_method(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/plain");
    request.method = "HEAD";
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->heads, 1);
    assert_int_equal(outcome->head.length, ORIGIN_PLAIN);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
}

static void test_headers_by_name(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/plain");
    struct outcome *outcome = test_fetch_asking(&request, "eTaG");
    assert_string_equal(outcome->header, "\"v1\"");
    outcome_free(outcome);
    request = origin_get("/plain");
    outcome = test_fetch_asking(&request, "X-TWO");
    assert_string_equal(outcome->header, "2");
    outcome_free(outcome);
    request = origin_get("/plain");
    outcome = test_fetch_asking(&request, "X-Tw");
    assert_null(outcome->header);
    outcome_free(outcome);
}

static void test_headers_are_bounded(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/many-headers");
    struct outcome *outcome = test_fetch_asking(&request, "X-First");
    assert_int_equal(outcome->error, 0);
    assert_string_equal(outcome->header, "here");
    outcome_free(outcome);
    request = origin_get("/many-headers");
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
    struct transfer_request request = origin_get("/chunked");
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
    struct transfer_request request = origin_get("/early");
    struct outcome *outcome = test_fetch_asking(&request, "X-Kind");
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->heads, 1);
    assert_int_equal(outcome->result.status, 200);
    assert_string_equal(outcome->header, "200");
    outcome_free(outcome);
    request = origin_get("/early");
    outcome = test_fetch_asking(&request, "X-Hint");
    assert_null(outcome->header);
    outcome_free(outcome);
}

static void test_senseless_ranges(void **state)
{
    (void)state;
    static const char *const senseless[] = {
        "bytes+0-3", "bytes+3-0/10", "bytes+0-3/2", "bytes+0-3/", "items+0-3/10", "bytes+0-3/10x", "bytes+-3/10",
        "bytes+0-/10", "bytes+*/10", "bytes+0-7/10", "bytes+0-99999999999999999999/*",
        "bytes+0-3/18446744073709551615", "+",
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
    struct transfer_request request = origin_get("/headers?status=304");
    struct outcome *outcome = test_fetch(&request); /* its Content-Length speaks of a body that does not come */
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->head.status, 304);
    outcome_free(outcome);
}

static void test_requests_as_sent(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/post");
    request.method = "POST";
    request.body = strdup("{\"a\": 1}");
    request.body_length = 8;
    request.user_password = strdup("user:pass:word");
    assert_int_equal(transfer_request_header(&request, "X-Empty", ""), 0);
    struct outcome *outcome = test_fetch(&request);
    assert_int_equal(outcome->length, 8);
    assert_memory_equal(outcome->data, "{\"a\": 1}", 8);
    outcome_free(outcome);
    char *seen = http_server_request(origin, "/post");
    assert_non_null(strstr(seen, "\r\nAuthorization: Basic dXNlcjpwYXNzOndvcmQ=\r\n"));
    assert_non_null(strstr(seen, "\r\nX-Empty:\r\n"));
    assert_null(strcasestr(seen, "\r\nContent-Type:"));
    assert_null(strcasestr(seen, "\r\nAccept-Encoding:"));
    assert_null(strcasestr(seen, "\r\nExpect:"));
    free(seen);
    expect_only("/%2E%2E", 0, 200, 1); /* dots are a name here, not a step */
}

static void test_signed_requests(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/empty");
    request.user_password = strdup("key:secret");
    request.aws_sigv4 = strdup("aws:amz:us-east-1:s3");
    struct outcome *outcome = test_fetch(&request);
    assert_string_equal(outcome->result.message, "");
    assert_int_equal(outcome->result.status, 200);
    outcome_free(outcome);
    char *seen = http_server_request(origin, "/empty");
    assert_non_null(seen);
    assert_non_null(strstr(seen, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential=key/"));
    assert_non_null(strstr(seen, "/us-east-1/s3/aws4_request, SignedHeaders="));
    assert_null(strstr(seen, "Basic "));
    free(seen);
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
    struct http_server *gone = http_server_start(NULL, 0, NULL);
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
    struct transfer_request request = origin_get("/plain");
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
    struct transfer_request request = origin_get("/plain");
    struct outcome *outcome = test_fetch_failing(&request, -EDOM, 0);
    assert_int_equal(outcome->error, -EDOM);
    assert_int_equal(outcome->length, 0);
    outcome_free(outcome);
    request = origin_get("/plain");
    outcome = test_fetch_failing(&request, 0, -EXDEV);
    assert_int_equal(outcome->error, -EXDEV);
    assert_int_equal(outcome->result.status, 200);
    outcome_free(outcome);
    request = origin_get("/empty");
    outcome = test_fetch_failing(&request, -EDOM, 0);
    assert_int_equal(outcome->error, -EDOM);
    outcome_free(outcome);
}

/* ---- redirects */

static void test_redirects(void **state)
{
    (void)state;
    struct outcome *outcome = expect("/hop?5", 0, 200, 1);
    assert_true(outcome->length == ORIGIN_PLAIN && test_is_pattern(outcome->data, 0, ORIGIN_PLAIN));
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
    struct transfer_request request = origin_get(path);
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
    char *seen = http_server_request(other_origin, "/plain");
    assert_null(strcasestr(seen, "sesame"));
    assert_null(strcasestr(seen, "authorization"));
    assert_non_null(strstr(seen, "\r\nIf-Match: \"v1\"\r\n"));
    assert_non_null(strstr(seen, "\r\nRange: bytes=0-9\r\n"));
    free(seen);

    request = origin_get("/elsewhere?302");
    request.user_password = strdup("user:word");
    outcome_free(test_fetch(&request));
    seen = http_server_request(other_origin, "/plain");
    assert_null(strcasestr(seen, "authorization"));
    free(seen);

    request = with_secrets("/hop?1");
    outcome_free(test_fetch(&request));
    seen = http_server_request(origin, "/plain");
    assert_non_null(strstr(seen, "\r\nX-Auth-Token: sesame\r\n"));
    assert_non_null(strstr(seen, "\r\nAuthorization: sesame\r\n"));
    free(seen);
}

static void test_userinfo_stays_with_its_host(void **state)
{
    (void)state;
    struct transfer_request request = {0};
    assert_true(asprintf(&request.url, "http://user:word@127.0.0.1:%u/hop?1", http_server_port(origin)) > 0);
    outcome_free(test_fetch(&request));
    char *seen = http_server_request(origin, "/plain");
    assert_non_null(strstr(seen, "\r\nAuthorization: Basic dXNlcjp3b3Jk\r\n"));
    free(seen);
    assert_true(asprintf(&request.url, "http://user:word@127.0.0.1:%u/elsewhere?301", http_server_port(origin)) > 0);
    outcome_free(test_fetch(&request));
    seen = http_server_request(other_origin, "/plain");
    assert_null(strcasestr(seen, "authorization"));
    free(seen);
}

static struct transfer_request post(const char *path)
{
    struct transfer_request request = origin_get(path);
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
    assert_int_equal(outcome->length, ORIGIN_PLAIN);
    outcome_free(outcome);
    char *seen = http_server_request(origin, "/plain");
    assert_memory_equal(seen, "GET ", 4);
    assert_null(strstr(seen, "password"));
    free(seen);

    request = post("/headers?status=307&Location:/post");
    outcome = test_fetch(&request);
    assert_int_equal(outcome->length, 8);
    outcome_free(outcome);

    unsigned before = http_server_requests(other_origin, "/plain");
    request = post("/elsewhere?307");
    outcome = test_fetch(&request);
    assert_int_equal(outcome->error, 0);
    assert_int_equal(outcome->result.status, 307); /* the caller's to decide */
    outcome_free(outcome);
    assert_int_equal(http_server_requests(other_origin, "/plain"), before);
}

/* ---- connections */

static void test_connections_are_kept(void **state)
{
    (void)state;
    expect_only("/empty", 0, 200, 1);
    unsigned before = http_server_connections(origin);
    for (int i = 0; i < 20; i++) {
        expect_only("/empty", 0, 200, 1);
    }
    assert_int_equal(http_server_connections(origin), before);
}

static void test_many_at_once(void **state)
{
    (void)state;
    enum { MANY = 40 };
    struct transfer_request requests[MANY];
    for (unsigned i = 0; i < MANY; i++) {
        requests[i] = origin_get("/plain");
        requests[i].ranged = true;
        requests[i].first = i * 1000;
        requests[i].last = requests[i].first + 100000 - i; /* small: none may starve behind the others under a sanitizer */
    }
    struct outcome *outcomes[MANY];
    test_fetch_all(requests, MANY, outcomes);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(outcomes[i]->error, 0);
        assert_int_equal(outcomes[i]->length, 100001 - i);
        assert_true(test_is_pattern(outcomes[i]->data, i * 1000, outcomes[i]->length));
        outcome_free(outcomes[i]);
    }
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, origin_start, origin_stop)
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
        IN_LOOP(test_signed_requests),
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
