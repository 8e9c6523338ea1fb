/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Redirects. libcurl could follow them by itself, but would send a header such as X-Auth-Token to wherever it is
 * pointed; here, what is meant for one server (scheme, host and port) is not told to another. Pure.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* 303 always, and 301 and 302 by long custom, turn a POST into a GET (RFC 9110, section 15.4). */
static bool becomes_get(const struct transfer_request *request, int status)
{
    const char *method = transfer_method(request);
    return (status == 303 && strcmp(method, "HEAD") != 0) ||
           ((status == 301 || status == 302) && strcmp(method, "POST") == 0);
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n > m && strcasecmp(text + n - m, end) == 0;
}

/* Does host B belong to the service at A: within it, beside it in a domain of three names or more, or both Amazon's? */
static bool hosts_are_kin(const char *a, const char *b)
{
    static const char amazon[] = ".amazonaws.com";
    const char *parent = strchr(a, '.'), *second = parent ? strchr(parent + 1, '.') : NULL;
    bool address = strspn(a, "0123456789.") == strlen(a);
    bool within = ends_in(b, a) && b[strlen(b) - strlen(a) - 1] == '.';
    bool beside = second && strchr(second + 1, '.') && !address && ends_in(b, parent);
    return within || beside || (ends_in(a, amazon) && ends_in(b, amazon));
}

/*
 * May what is signed for FROM be signed for TO? A service that sends us to another of its hosts, as S3 does to the one that has the bucket. Never
 * from https to http, and not to a stranger: the token of a session would be told to him.
 */
static bool may_be_signed_for(CURLU *from, CURLU *to)
{
    char *a = NULL, *b = NULL, *x = NULL, *y = NULL;
    bool good = curl_url_get(from, CURLUPART_HOST, &a, 0) == CURLUE_OK && curl_url_get(to, CURLUPART_HOST, &b, 0) == CURLUE_OK &&
                curl_url_get(from, CURLUPART_SCHEME, &x, 0) == CURLUE_OK && curl_url_get(to, CURLUPART_SCHEME, &y, 0) == CURLUE_OK &&
                (strcasecmp(x, "http") == 0 || strcasecmp(y, "https") == 0) && hosts_are_kin(a, b);
    curl_free(a);
    curl_free(b);
    curl_free(x);
    curl_free(y);
    return good;
}

/* The url of TO, when it is one that is taken. */
static int take_target(CURLU *to, char **ret_target, const char **ret_why)
{
    char *text = NULL, *target = NULL;
    int r = 1;
    if (curl_url_get(to, CURLUPART_URL, &text, 0) != CURLUE_OK || !(target = strdup(text))) {
        r = -ENOMEM;
    } else if (transfer_http_check_url(target) < 0) {
        *ret_why = "redirected to neither http nor https";
        r = -EPROTO;
    }
    transfer_wipe_free(text);
    if (r < 0) {
        transfer_wipe_free(target);
        return r;
    }
    *ret_target = target;
    return 1;
}

/* From FROM, where the request is for, to LOCATION. TO is FROM, too, at first, so that LOCATION may be relative. */
static int plan(struct transfer_request *request, int status, CURLU *from, CURLU *to, const char *location, char **ret_target,
                const char **ret_why)
{
    if (curl_url_set(from, CURLUPART_URL, request->url, CURLU_PATH_AS_IS) != CURLUE_OK ||
        curl_url_set(to, CURLUPART_URL, request->url, CURLU_PATH_AS_IS) != CURLUE_OK) {
        return -ENOMEM;
    }
    if (curl_url_set(to, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK) {
        *ret_why = "redirected to what is not a url";
        return -EPROTO;
    }
    if (transfer_same_origin(from, to)) {
        transfer_inherit_userinfo(from, to);
    } else if (request->body && !becomes_get(request, status)) {
        return 0; /* a body, such as a password for Keystone, is for the server it was made for */
    } else if (!request->aws_sigv4 || !may_be_signed_for(from, to)) {
        transfer_request_strip(request);
    }
    return take_target(to, ret_target, ret_why);
}

int transfer_redirect_plan(struct transfer_request *request, const struct transfer_head *head, const struct transfer_headers *headers,
                           unsigned followed, char **ret_target, const char **ret_why)
{
    _Static_assert(TRANSFER_REDIRECTS_MAX == 5, "the message says so");
    const int status = head->status;
    const char *location = transfer_headers_get(headers, "location");
    bool redirects = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!redirects || !location || !*location) {
        return 0;
    }
    if (followed == TRANSFER_REDIRECTS_MAX) {
        *ret_why = "more than 5 redirects";
        return -ELOOP;
    }
    CURLU *from = curl_url(), *to = curl_url();
    int r = from && to ? plan(request, status, from, to, location, ret_target, ret_why) : -ENOMEM;
    curl_url_cleanup(from);
    curl_url_cleanup(to);
    return r;
}

void transfer_redirect_apply(struct transfer_request *request, int status, char *target)
{
    if (becomes_get(request, status)) {
        request->method = NULL;
        transfer_request_drop_body(request);
    }
    transfer_wipe_free(request->url);
    request->url = target;
}
