/* SPDX-License-Identifier: Apache-2.0 */
/* One GET at a time, on a handle of its own: answers are kept by those who ask, so that this is rare. No state. */
#include "config-auto.h"

#include "api/access/service.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

struct body {
    char *text;
    size_t length;
};

static size_t receive(char *data, size_t size, size_t count, void *context)
{
    struct body *b = context;
    size_t n = size * count;
    if (n > SERVICE_BODY_MAX - b->length)
        return 0;
    char *text = realloc(b->text, b->length + n + 1);
    if (text == NULL)
        return 0;
    b->text = text;
    memcpy(text + b->length, data, n);
    b->length += n;
    text[b->length] = '\0';
    return n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return list;
    snprintf(line, size, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(list, line);
    explicit_bzero(line, size);
    free(line);
    return longer != NULL ? longer : list;
}

static int error_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_WRITE_ERROR:
        return -EFBIG;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return -EHOSTUNREACH;
    default:
        return -EIO;
    }
}

static char *join(const char *base, const char *path)
{
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    char *url = malloc(length + strlen(path) + 1);
    if (url != NULL)
        sprintf(url, "%.*s%s", (int)length, base, path);
    return url;
}

static int perform(CURL *curl, const char *url, const char *ca_file, struct curl_slist *headers, struct body *body)
{
    char why[CURL_ERROR_SIZE] = "";
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)SERVICE_SECONDS / 2);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)SERVICE_SECONDS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, receive);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "glance-cache-api/" PACKAGE_VERSION);
    if (ca_file != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file);
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        log_warning("no answer from %s: %s; what depends on it gets 503", url, why[0] ? why : curl_easy_strerror(code));
    return error_of(code);
}

int service_get(const char *base, const char *path, const char *ca_file, const char *token, const char *subject, unsigned *ret_status,
                char **ret_body, size_t *ret_length)
{
    struct body body = {.text = calloc(1, 1)};
    char *url = join(base, path);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = add_header(NULL, "X-Auth-Token", token);
    if (subject != NULL)
        headers = add_header(headers, "X-Subject-Token", subject);
    int r = body.text == NULL || url == NULL || curl == NULL || headers == NULL ? -ENOMEM : 0;
    if (r == 0)
        r = perform(curl, url, ca_file, headers, &body);
    if (r == 0) {
        long status = 0;
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        *ret_status = (unsigned)status;
        *ret_body = body.text;
        *ret_length = body.length;
        body.text = NULL;
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(url);
    free(body.text);
    return r;
}

void service_set_up(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

void service_clean_up(void) { curl_global_cleanup(); }
