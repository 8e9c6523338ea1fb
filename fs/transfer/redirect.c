/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Urls and redirects. libcurl could follow redirects by itself, but would send a header such as X-Auth-Token to
 * wherever it is pointed; here, what is meant for one server (scheme, host and port) is not told to another.
 * Everything runs on the loop's thread; no lock.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- urls */

int transfer_http_check_url(const char *url)
{
    CURLU *parts = curl_url();
    if (!parts) {
        return -ENOMEM;
    }
    char *scheme = NULL;
    bool good = curl_url_set(parts, CURLUPART_URL, url, CURLU_PATH_AS_IS) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcasecmp(scheme, "http") == 0 || strcasecmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parts);
    return good ? 0 : -EINVAL;
}

static bool same_part(CURLU *a, CURLU *b, CURLUPart part)
{
    char *x = NULL, *y = NULL;
    bool same = curl_url_get(a, part, &x, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                curl_url_get(b, part, &y, CURLU_DEFAULT_PORT) == CURLUE_OK && strcasecmp(x, y) == 0;
    curl_free(x);
    curl_free(y);
    return same;
}

static bool same_origin(CURLU *a, CURLU *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
}

/* FROM's userinfo into TO, when it has one and TO has not. */
static void inherit_userinfo(CURLU *from, CURLU *to)
{
    char *text = NULL;
    if (curl_url_get(to, CURLUPART_USER, &text, 0) == CURLUE_OK) {
        curl_free(text);
        return;
    }
    if (curl_url_get(from, CURLUPART_USER, &text, 0) == CURLUE_OK) {
        curl_url_set(to, CURLUPART_USER, text, 0);
        transfer_wipe_free(text);
    }
    text = NULL;
    if (curl_url_get(from, CURLUPART_PASSWORD, &text, 0) == CURLUE_OK) {
        curl_url_set(to, CURLUPART_PASSWORD, text, 0);
        transfer_wipe_free(text);
    }
}

/* ---- redirects */

static bool has_body(const struct transfer *transfer)
{
    return transfer->request.body;
}

/* 303 always, and 301 and 302 by long custom, turn a POST into a GET (RFC 9110, section 15.4). */
static bool becomes_get(const struct transfer *transfer)
{
    int status = transfer->head.status;
    const char *method = transfer_method(transfer);
    return (status == 303 && strcmp(method, "HEAD") != 0) ||
           ((status == 301 || status == 302) && strcmp(method, "POST") == 0);
}

/* 1: yes, transfer->redirect says where to; 0: it is the answer; or an error. */
int transfer_plan_redirect(struct transfer *transfer)
{
    int status = transfer->head.status;
    const char *location = transfer_headers_get(&transfer->headers, "location");
    bool redirects = status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
    if (!redirects || !location || !*location) {
        return 0;
    }
    if (transfer->redirects == TRANSFER_REDIRECTS_MAX) {
        transfer_message(transfer, "more than %d redirects", TRANSFER_REDIRECTS_MAX);
        return -ELOOP;
    }
    CURLU *from = curl_url(), *to = curl_url();
    char *target = NULL;
    int r = 1;
    if (!from || !to || curl_url_set(from, CURLUPART_URL, transfer->request.url, CURLU_PATH_AS_IS) != CURLUE_OK ||
        curl_url_set(to, CURLUPART_URL, transfer->request.url, CURLU_PATH_AS_IS) != CURLUE_OK) {
        r = -ENOMEM;
        goto out;
    }
    if (curl_url_set(to, CURLUPART_URL, location, CURLU_URLENCODE) != CURLUE_OK) {
        transfer_message(transfer, "redirected to what is not a url");
        r = -EPROTO;
        goto out;
    }
    if (same_origin(from, to)) {
        inherit_userinfo(from, to);
    } else if (has_body(transfer) && !becomes_get(transfer)) {
        r = 0; /* a body, such as a password for Keystone, is for the server it was made for */
        goto out;
    } else {
        transfer_request_strip(&transfer->request);
    }
    if (curl_url_get(to, CURLUPART_URL, &target, 0) != CURLUE_OK || !(transfer->redirect = strdup(target))) {
        r = -ENOMEM;
    } else if (transfer_http_check_url(target) < 0) {
        transfer_message(transfer, "redirected to neither http nor https");
        r = -EPROTO;
    }
out:
    transfer_wipe_free(target);
    curl_url_cleanup(from);
    curl_url_cleanup(to);
    return r;
}

/* The request is now for transfer->redirect. */
void transfer_apply_redirect(struct transfer *transfer)
{
    struct transfer_request *request = &transfer->request;
    if (becomes_get(transfer)) {
        request->method = NULL;
        if (request->body) {
            explicit_bzero(request->body, request->body_length);
            free(request->body);
        }
        request->body = NULL;
        request->body_length = 0;
    }
    transfer_wipe_free(request->url);
    request->url = transfer->redirect;
    transfer->redirect = NULL;
    transfer->redirects++;
    transfer->dropped = 0;
    transfer->head_done = false;
    transfer->head.status = 0;
    transfer_headers_reset(&transfer->headers);
}
