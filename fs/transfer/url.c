/* SPDX-License-Identifier: Apache-2.0 */
/* Urls: which are taken, and whether two are of one server. Pure; any thread. */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

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

bool transfer_same_origin(CURLU *a, CURLU *b)
{
    return same_part(a, b, CURLUPART_SCHEME) && same_part(a, b, CURLUPART_HOST) && same_part(a, b, CURLUPART_PORT);
}

void transfer_inherit_userinfo(CURLU *from, CURLU *to)
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
