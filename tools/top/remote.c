/* SPDX-License-Identifier: Apache-2.0 */
/* A look over HTTP: GET /status of glance-cache-api. Only here: libcurl. */
#include "config-auto.h"

#include "top/look.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum { BODY_MAX = 64 * 1024 * 1024, SECONDS = 10 };

struct body {
    char *text;
    size_t length;
};

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct body *b = context;
    size_t n = size * count;
    char *text = n <= BODY_MAX - b->length ? realloc(b->text, b->length + n + 1) : NULL;
    if (text == NULL)
        return 0;
    b->text = text;
    memcpy(text + b->length, data, n);
    b->length += n;
    return n;
}

static struct curl_slist *token_header(const char *token)
{
    char *line = NULL;
    if (token == NULL || asprintf(&line, "X-Auth-Token: %s", token) < 0)
        return NULL;
    struct curl_slist *list = curl_slist_append(NULL, line);
    explicit_bzero(line, strlen(line));
    free(line);
    return list;
}

/* -EACCES, -EHOSTUNREACH, -EPROTO, -ENOMEM; logged. */
static int get(const char *url, const char *token, const char *ca_file, struct body *body)
{
    char why[CURL_ERROR_SIZE] = "", *full = NULL;
    long status = 0;
    CURL *curl = curl_easy_init();
    if (curl == NULL || asprintf(&full, "%s/status", url) < 0) {
        curl_easy_cleanup(curl);
        return log_errno(-ENOMEM, "%s", url);
    }
    struct curl_slist *headers = token_header(token);
    curl_easy_setopt(curl, CURLOPT_URL, full);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)SECONDS);
    curl_easy_setopt(curl, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "glance-cache-top/" PACKAGE_VERSION);
    if (ca_file != NULL) { /* in place of the system's, which may lie in a folder */
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL);
    }
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    int r = code != CURLE_OK ? -EHOSTUNREACH : status == 401 || status == 403 ? -EACCES : status != 200 ? -EPROTO : 0;
    if (r == -EHOSTUNREACH)
        log_error("%s: %s", full, why[0] != '\0' ? why : curl_easy_strerror(code));
    else if (r == -EACCES)
        log_error("%s: this needs a token that may look at the cache: --token-file, or OS_AUTH_TOKEN", full);
    else if (r < 0)
        log_error("%s: HTTP status %ld; is glance-cache-api running there?", full, status);
    free(full);
    return r;
}

/* The api's lists as a look has them: its own names of the same things. */
static json_t *renamed(const json_t *list)
{
    json_t *out = json_array(), *value;
    size_t i;
    json_array_foreach(list, i, value) {
        json_t *item = json_copy(value), *id = json_object_get(item, "image") ? json_object_get(item, "image") : json_object_get(item, "id");
        json_object_set(item, "image", id ? id : json_null());
        json_array_append_new(out, item);
    }
    return out;
}

int look_at_url(const char *url, const char *token, const char *ca_file, json_t **ret)
{
    struct body body = {0};
    int r = get(url, token, ca_file, &body);
    json_t *document = r == 0 && body.length > 0 ? json_loadb(body.text, body.length, 0, NULL) : NULL;
    free(body.text);
    if (r < 0)
        return r;
    json_t *cache = json_object_get(document, "cache");
    if (!json_is_object(cache)) {
        json_decref(document);
        log_error("%s/status: that is no answer of glance-cache-api", url);
        return -EPROTO;
    }
    *ret = json_pack("{s:s, s:f, s:O, s:o, s:o}", "where", url, "time", (double)clock_now() / (double)NS_PER_S, "cache", cache, "busiest",
                     look_busiest(renamed(json_object_get(document, "cached"))), "invalid",
                     renamed(json_object_get(document, "invalid")));
    json_decref(document);
    return *ret == NULL ? -ENOMEM : 0;
}
