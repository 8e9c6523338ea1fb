/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to the servers and to Keystone. */
#include "config-auto.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "manage/manage.h"

enum { BODY_MAX = 512 * 1024 * 1024 };

struct receiving {
    char *text;
    size_t length;
    char *subject;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct receiving *r = context;
    size_t n = size * count;
    char *text = n <= BODY_MAX - r->length ? realloc(r->text, r->length + n + 1) : NULL;
    if (text == NULL)
        return 0;
    r->text = text;
    memcpy(text + r->length, data, n);
    r->length += n;
    text[r->length] = '\0';
    return n;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    static const char name[] = "X-Subject-Token:";
    struct receiving *r = context;
    size_t n = size * count, skip = sizeof(name) - 1;
    if (n > skip && strncasecmp(data, name, skip) == 0) {
        while (skip < n && data[skip] == ' ')
            skip++;
        free(r->subject);
        r->subject = strndup(data + skip, n - skip);
        if (r->subject != NULL)
            r->subject[strcspn(r->subject, "\r\n")] = '\0';
    }
    return n;
}

static struct curl_slist *add_header(struct curl_slist *list, const char *name, const char *value)
{
    char *line = NULL;
    if (asprintf(&line, "%s: %s", name, value) < 0)
        return list;
    struct curl_slist *longer = curl_slist_append(list, line);
    explicit_bzero(line, strlen(line));
    free(line);
    return longer != NULL ? longer : list;
}

/* The message of an error document, in whichever of the usual forms. */
static void find_message(const struct receiving *r, struct answer *ret)
{
    const char *key;
    json_t *value;
    json_object_foreach(ret->body, key, value) {
        const char *message = json_string_value(json_object_get(value, "message"));
        if (message != NULL) {
            snprintf(ret->message, sizeof(ret->message), "%s", message);
            ret->ours = true;
            return;
        }
    }
    snprintf(ret->message, sizeof(ret->message), "HTTP status %ld%s%.300s", ret->status, r->length > 0 ? ": " : "",
             r->length > 0 ? r->text : "");
    ret->message[strcspn(ret->message, "\r\n")] = '\0';
}

static void set_up(CURL *curl, const struct options *o, const char *method, const char *url, const char *data, struct receiving *r,
                   struct curl_slist *headers, char *why)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, r);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, r);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L); /* there are other threads */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, o->timeout);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L); /* a server that says nothing for so long is given up */
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, 300L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "glance-cache-manage/" PACKAGE_VERSION);
    if (data != NULL)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, data);
    else if (strcmp(method, "GET") != 0)
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "");
    if (o->insecure) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (o->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, o->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* this file instead of the system's authorities, not beside them */
    }
}

void client_ask(const struct options *o, const char *method, const char *url, const char *path, const char *token, const char *data,
                struct answer *ret, char **subject)
{
    struct receiving r = {0};
    char why[CURL_ERROR_SIZE] = "", *full = NULL;
    *ret = (struct answer){0};
    CURL *curl = curl_easy_init();
    if (curl == NULL || asprintf(&full, "%s%s", url, path) < 0) {
        snprintf(ret->message, sizeof(ret->message), "out of memory");
        curl_easy_cleanup(curl);
        return;
    }
    /* no "Content-Type: …urlencoded" of libcurl's, and no waiting for 100 */
    struct curl_slist *headers = add_header(add_header(NULL, "Content-Type", "application/json"), "Expect", "");
    if (token != NULL)
        headers = add_header(headers, "X-Auth-Token", token);
    set_up(curl, o, method, full, data, &r, headers, why);
    if (o->debug)
        fprintf(stderr, "%s %s\n", method, full);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ret->status);
    if (o->debug)
        fprintf(stderr, "%s\n", code != CURLE_OK ? curl_easy_strerror(code) : "answered");
    if (code != CURLE_OK) {
        ret->status = 0;
        snprintf(ret->message, sizeof(ret->message), "%s%s", why[0] != '\0' ? why : curl_easy_strerror(code),
                 code == CURLE_COULDNT_CONNECT ? "; is glance-cache-api, or Glance, running there? --host and --port say where"
                 : strstr(why, "wrong version number") != NULL ? "; https is not spoken there: name it as http://HOST:PORT" : "");
    } else {
        ret->ok = ret->status >= 200 && ret->status < 300;
        ret->body = r.length > 0 ? json_loadb(r.text, r.length, JSON_DECODE_ANY, NULL) : NULL;
        if (!ret->ok)
            find_message(&r, ret);
    }
    if (subject != NULL)
        *subject = r.subject;
    else
        free(r.subject);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    free(r.text);
    free(full);
}

void answer_clear(struct answer *a)
{
    json_decref(a->body);
    a->body = NULL;
}

char *client_encode(const char *text)
{
    char *curls = curl_easy_escape(NULL, text, 0);
    char *ours = curls != NULL ? strdup(curls) : NULL;
    curl_free(curls);
    return ours;
}
