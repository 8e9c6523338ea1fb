/* SPDX-License-Identifier: Apache-2.0 */
/* One handle a question, from a small store of handles whose connections are still open. */
#include "config-auto.h"

#include "api/access/service.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/http/api.h"
#include "base/clock.h"
#include "base/log.h"

enum { DROPPED_MAX = 4096 }; /* a body that is not wanted is read to its end when it is no longer: the connection is good for more then */

struct service {
    const char *what, *base, *ca_file;
    struct endpoints *endpoints; /* instead of base; NULL */
    pthread_mutex_t lock;
    pthread_cond_t turn;
    unsigned asking;                /* protected by lock */
    CURL *idle[SERVICE_AT_ONCE];    /* protected by lock */
    unsigned idle_count;            /* protected by lock */
    bool down;                      /* protected by lock */
    int64_t failed;                 /* when it did not answer last; 0: it did since. Protected by lock */
};

struct service *service_new(const char *what, const char *base, const char *ca_file)
{
    pthread_condattr_t monotonic;
    struct service *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->what = what;
    s->base = base;
    s->ca_file = ca_file;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->turn, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return s;
}

struct service *service_new_at(const char *what, struct endpoints *endpoints, const char *ca_file)
{
    struct service *s = service_new(what, NULL, ca_file);
    if (s != NULL)
        s->endpoints = endpoints;
    return s;
}

/* The TRY-th url. */
static bool base_of(const struct service *s, unsigned try, char ret[ENDPOINT_SIZE])
{
    if (s->endpoints != NULL)
        return endpoints_get(s->endpoints, try, ret);
    snprintf(ret, ENDPOINT_SIZE, "%s", s->base);
    return try == 0;
}

void service_free(struct service *s)
{
    if (s == NULL)
        return;
    for (unsigned i = 0; i < s->idle_count; i++)
        curl_easy_cleanup(s->idle[i]);
    pthread_cond_destroy(&s->turn);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

bool service_token_valid(const char *text)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7e)
            return false;
    }
    return text[0] != '\0';
}

/* ---- whose turn it is */

static int seconds_for(const struct service_question *q)
{
    return q->hurried ? SERVICE_HURRY_SECONDS : SERVICE_SECONDS;
}

static int begin(struct service *s, const struct service_question *q, CURL **ret)
{
    int64_t now = clock_monotonic(), end = now + seconds_for(q) * NS_PER_S;
    struct timespec until = {.tv_sec = (time_t)(end / NS_PER_S), .tv_nsec = (long)(end % NS_PER_S)};
    int r = 0;
    CURL *curl = NULL;
    pthread_mutex_lock(&s->lock);
    if (q->hurried && s->failed != 0 && now - s->failed < SERVICE_PAUSE_SECONDS * NS_PER_S)
        r = -EHOSTUNREACH;
    while (r == 0 && s->asking == SERVICE_AT_ONCE)
        r = pthread_cond_timedwait(&s->turn, &s->lock, &until) == 0 ? 0 : -EAGAIN;
    if (r == 0) {
        s->asking++;
        if (s->idle_count > 0)
            curl = s->idle[--s->idle_count];
    }
    pthread_mutex_unlock(&s->lock);
    if (r == 0 && curl == NULL)
        curl = curl_easy_init();
    *ret = curl;
    return r;
}

static void end(struct service *s, CURL *curl)
{
    if (curl != NULL)
        curl_easy_reset(curl); /* keeps its connections */
    pthread_mutex_lock(&s->lock);
    s->asking--;
    if (curl != NULL)
        s->idle[s->idle_count++] = curl; /* never more than there were questions at once */
    pthread_cond_signal(&s->turn);
    pthread_mutex_unlock(&s->lock);
}

/* Logs a change for the worse or the better; WHY: NULL when it answers. SILENT: not even that. */
static void note(struct service *s, const char *base, const char *why, bool silent)
{
    pthread_mutex_lock(&s->lock);
    s->failed = silent ? clock_monotonic() : 0;
    bool changed = s->down != (why != NULL);
    s->down = why != NULL;
    pthread_mutex_unlock(&s->lock);
    if (changed && why != NULL)
        log_warning("%s at %s does not answer: %s; clients whose requests need it get 503 until it does", s->what, base, why);
    else if (changed)
        log_notice("%s at %s answers again", s->what, base);
    else if (why != NULL)
        log_debug("%s at %s: %s", s->what, base, why);
}

/* ---- one question */

struct receiving {
    struct service_answer *to;
    bool head_only;
};

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct receiving *r = context;
    struct service_answer *a = r->to;
    size_t n = size * count;
    if (r->head_only) {
        a->length += n;
        return a->length <= DROPPED_MAX ? n : 0;
    }
    if (n > SERVICE_BODY_MAX - a->length)
        return 0;
    char *text = realloc(a->body, a->length + n + 1);
    if (text == NULL)
        return 0;
    a->body = text;
    memcpy(text + a->length, data, n);
    a->length += n;
    text[a->length] = '\0';
    return n;
}

/* Copies the value of the header NAME, when LINE is one. */
static void take_header(const char *line, size_t length, const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);
    if (length <= n || strncasecmp(line, name, n) != 0 || line[n] != ':')
        return;
    line += n + 1;
    length -= n + 1;
    while (length > 0 && (line[0] == ' ' || line[0] == '\t')) {
        line++;
        length--;
    }
    while (length > 0 && (line[length - 1] == '\r' || line[length - 1] == '\n' || line[length - 1] == ' '))
        length--;
    snprintf(ret, size, "%.*s", (int)(length < size ? length : size - 1), line);
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct service_answer *a = ((struct receiving *)context)->to;
    take_header(data, size * count, "Content-Type", a->type, sizeof(a->type));
    take_header(data, size * count, "Retry-After", a->retry_after, sizeof(a->retry_after));
    return size * count;
}

/* False: no memory. A VALUE of NULL is no header. */
static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
    if (value == NULL)
        return true;
    size_t size = strlen(name) + strlen(value) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return false;
    snprintf(line, size, "%s: %s", name, value);
    struct curl_slist *longer = curl_slist_append(*list, line);
    explicit_bzero(line, size);
    free(line);
    if (longer != NULL)
        *list = longer;
    return longer != NULL;
}

static bool headers_of(const struct service_question *q, struct curl_slist **ret)
{
    return add_header(ret, "Accept", "application/json") && add_header(ret, "X-Auth-Token", q->token) && add_header(ret, "X-Service-Token", q->service_token) &&
           add_header(ret, "X-Subject-Token", q->subject) && add_header(ret, "X-OpenStack-Request-ID", q->request_id) &&
           add_header(ret, "Range", q->range) && add_header(ret, "Via", request_own_via());
}

static bool question_valid(const struct service_question *q)
{
    return (q->token == NULL || service_token_valid(q->token)) && (q->service_token == NULL || service_token_valid(q->service_token)) &&
           (q->subject == NULL || service_token_valid(q->subject)) && (q->request_id == NULL || service_token_valid(q->request_id)) &&
           service_token_valid(q->path);
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

static void set_up(const struct service *s, CURL *curl, const char *url, int seconds, struct curl_slist *headers, struct receiving *to, char *why)
{
    curl_easy_setopt(curl, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)(seconds + 1) / 2);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)seconds);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, to);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, to);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "glance-cache-api/" PACKAGE_VERSION);
    if (s->ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, s->ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's authorities are trusted, too */
    }
}

/* -EHOSTUNREACH: it could not be connected to. */
static int perform_at(struct service *s, CURL *curl, const char *base, const struct service_question *q, struct curl_slist *headers,
                      struct service_answer *ret)
{
    char why[CURL_ERROR_SIZE] = "";
    struct receiving to = {.to = ret, .head_only = q->head_only};
    long status = 0;
    char *url = join(base, q->path);
    if (url == NULL)
        return -ENOMEM;
    set_up(s, curl, url, seconds_for(q), headers, &to, why);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    ret->status = (unsigned)status;
    free(url);
    if (code == CURLE_WRITE_ERROR && q->head_only && status > 0) /* our own no to the rest of the body */
        code = CURLE_OK;
    if (code == CURLE_OK && status >= 500)
        snprintf(why, sizeof(why), "it answers with status %ld", status);
    note(s, base, code != CURLE_OK ? (why[0] != '\0' ? why : curl_easy_strerror(code)) : status >= 500 ? why : NULL, code != CURLE_OK);
    return error_of(code);
}

static int perform(struct service *s, CURL *curl, const struct service_question *q, struct curl_slist *headers, struct service_answer *ret)
{
    char base[ENDPOINT_SIZE];
    int r = -EHOSTUNREACH;
    for (unsigned try = 0; r == -EHOSTUNREACH && base_of(s, try, base); try++)
        r = perform_at(s, curl, base, q, headers, ret);
    if (r == 0 && s->endpoints != NULL)
        endpoints_reached(s->endpoints, base);
    return r;
}

int service_ask(struct service *s, const struct service_question *q, struct service_answer *ret)
{
    struct service_answer answer = {0};
    struct curl_slist *headers = NULL;
    CURL *curl;
    if (!question_valid(q))
        return -EINVAL;
    answer.body = calloc(1, 1);
    if (answer.body == NULL)
        return -ENOMEM;
    int r = begin(s, q, &curl);
    if (r == 0) {
        r = curl == NULL || !headers_of(q, &headers) ? -ENOMEM : perform(s, curl, q, headers, &answer);
        end(s, curl);
    }
    curl_slist_free_all(headers);
    if (r < 0) {
        free(answer.body);
        return r;
    }
    *ret = answer;
    return 0;
}

void service_set_up(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

void service_clean_up(void) { curl_global_cleanup(); }
