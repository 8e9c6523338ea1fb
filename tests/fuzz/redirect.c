/* SPDX-License-Identifier: Apache-2.0 */
/* Redirects: wherever a Location leads, nothing that is secret goes to another scheme, host or port. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>
#include <strings.h>

#include "transfer/private.h"

/* "scheme host port", as libcurl would connect; free() it. */
static char *origin_of(const char *url)
{
    CURLU *parts = curl_url();
    char *scheme = NULL, *host = NULL, *port = NULL, *text;
    assert(parts && curl_url_set(parts, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK);
    assert(curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK);
    assert(curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK);
    assert(curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK);
    assert(asprintf(&text, "%s %s %s", scheme, host, port) > 0);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(parts);
    return text;
}

/* A request is signed, or it carries a token and a password: never both. */
static void fill(struct transfer_request *q, const char *url, bool post, bool is_signed)
{
    q->url = strdup(url);
    q->user_password = strdup("user:secret");
    if (is_signed)
        q->aws_sigv4 = strdup("aws:amz:r:s3");
    else
        assert(transfer_request_header(q, "X-Auth-Token", "secret") == 0);
    assert(transfer_request_header(q, "If-Match", "\"e\"") == 0);
    if (post) {
        q->method = "POST";
        q->body = strdup("secret");
        q->body_length = 6;
    }
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

/* "scheme host port": may what is signed (its key is not sent) be signed anew for the second? Never without TLS where there was some. */
static bool may_sign(const char *before, const char *after)
{
    char a[2][4096], b[2][4096];
    if (sscanf(before, "%4095s %4095s", a[0], a[1]) != 2 || sscanf(after, "%4095s %4095s", b[0], b[1]) != 2)
        return false;
    const char *parent = strchr(a[1], '.');
    bool within = strlen(b[1]) > strlen(a[1]) && ends_in(b[1], a[1]) && b[1][strlen(b[1]) - strlen(a[1]) - 1] == '.';
    bool beside = parent != NULL && strchr(parent + 1, '.') != NULL && ends_in(b[1], parent);
    bool amazons = ends_in(a[1], ".amazonaws.com") && ends_in(b[1], ".amazonaws.com");
    return (strcasecmp(a[0], "https") != 0 || strcasecmp(b[0], "https") == 0) && (within || beside || amazons);
}

static void follow(struct transfer_request *q, int status, char *target, const char *url, bool post, bool is_signed)
{
    char *before = origin_of(url);
    transfer_redirect_apply(q, status, target);
    assert(q->url && transfer_http_check_url(q->url) == 0);
    for (const char *c = q->url; *c; c++)
        assert((unsigned char) *c > ' ' && *c != 0x7f);
    char *after = origin_of(q->url);
    bool same = strcasecmp(before, after) == 0;
    assert(same || (!q->body && !transfer_request_find(q, "X-Auth-Token")));
    assert(same || (!q->user_password && !q->aws_sigv4) || (q->aws_sigv4 && may_sign(before, after)));
    assert(!same || (q->user_password && (is_signed || transfer_request_find(q, "X-Auth-Token"))));
    assert(transfer_request_find(q, "If-Match") && (post || !q->method) && (!q->body || q->method));
    free(before);
    free(after);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int statuses[] = {301, 302, 303, 307, 308, 300, 200, 304};
    struct input in = {data, size};
    struct transfer_head head = {.status = statuses[fuzz_number(&in, 1) % 8]};
    struct transfer_request request = {0};
    struct transfer_headers headers = {0};
    char *target = NULL;
    const char *why = NULL;
    bool post = size % 2, is_signed = size / 2 % 2;
    char *url = fuzz_line(&in);
    if (transfer_http_check_url(url) == 0) {
        fill(&request, url, post, is_signed);
        transfer_headers_add(&headers, (const char *) in.data, in.size);
        int r = transfer_redirect_plan(&request, &head, &headers, 0, &target, &why);
        assert(r == 1 || r == 0 || r == -EPROTO);
        assert((r == 1) == (target != NULL) && (r == -EPROTO) == (why != NULL));
        if (r == 1)
            follow(&request, head.status, target, url, post, is_signed);
        else if (r == 0) /* the answer: what comes next may be the same request once more */
            assert(request.user_password);
    }
    transfer_request_clear(&request);
    transfer_headers_clear(&headers);
    free(url);
    return 0;
}
