/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request to Glance and its answer. States: the head is sent; the body goes, while PIECE has bytes, and pauses without; the head of the
 * answer is here; its body comes, and pauses while the buffer is full; done. A refusal may come before the body ended: the rest is dropped.
 */
#include "config-auto.h"

#include "api/relay/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

enum { BUFFER_BYTES = 64 * 1024, HEAD_BYTES = 64 * 1024, CONNECT_SECONDS = 10 };

/* ---- the library's callbacks */

static size_t on_wanted(char *to, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    size_t n = size * count < x->piece_length ? size * count : x->piece_length;
    x->wanted = true;
    if (n == 0 && !x->ended) {
        x->send_paused = true;
        return CURL_READFUNC_PAUSE;
    }
    memcpy(to, x->piece != NULL ? x->piece : "", n);
    x->piece += n;
    x->piece_length -= n;
    x->moved += n;
    return n;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    size_t n = size * count;
    if (x->buffer == NULL && (x->buffer = malloc(BUFFER_BYTES)) == NULL)
        return 0;
    if (x->begin > 0 && n > BUFFER_BYTES - x->end) {
        memmove(x->buffer, x->buffer + x->begin, x->end - x->begin);
        x->end -= x->begin;
        x->begin = 0;
    }
    if (n > BUFFER_BYTES - x->end) {
        x->receive_paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    memcpy(x->buffer + x->end, data, n);
    x->end += n;
    x->moved += n;
    return n;
}

static bool keep_header(struct exchange *x, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (colon == NULL)
        return true;
    const char *value = colon + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    size_t name = (size_t)(colon - line), rest = (size_t)(end - value);
    char *longer = name + rest + 2 <= HEAD_BYTES - x->head_length ? realloc(x->head, x->head_length + name + rest + 2) : NULL;
    if (longer == NULL)
        return false;
    x->head = longer;
    memcpy(longer + x->head_length, line, name);
    longer[x->head_length + name] = '\0';
    memcpy(longer + x->head_length + name + 1, value, rest);
    longer[x->head_length + name + 1 + rest] = '\0';
    x->head_length += name + rest + 2;
    return true;
}

static size_t on_header(char *data, size_t size, size_t count, void *context)
{
    struct exchange *x = context;
    size_t n = size * count;
    x->moved += n;
    if (x->head_done) /* a trailer */
        return n;
    if (n > 5 && strncmp(data, "HTTP/", 5) == 0) {
        x->head_length = 0;
        x->status = 0;
        return n;
    }
    if (n > 2)
        return keep_header(x, data, n) ? n : 0;
    long status = 0;
    curl_easy_getinfo(x->lane.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200) { /* others are before the answer */
        x->status = (unsigned)status;
        x->head_done = true;
    }
    return n;
}

/* ---- making one */

int exchange_add_header(struct exchange *x, const char *name, const char *value)
{
    size_t size = strlen(name) + (value != NULL ? strlen(value) : 0) + 3;
    char *line = malloc(size);
    if (line == NULL)
        return -ENOMEM;
    if (value != NULL && value[0] != '\0')
        snprintf(line, size, "%s: %s", name, value);
    else
        snprintf(line, size, value == NULL ? "%s:" : "%s;", name);
    struct curl_slist *longer = curl_slist_append(x->headers, line);
    explicit_bzero(line, size);
    free(line);
    if (longer == NULL)
        return -ENOMEM;
    x->headers = longer;
    return 0;
}

static int watch(struct exchange *x, int client)
{
    struct epoll_event event = {.events = EPOLLRDHUP};
    x->left = -1;
    if (client < 0)
        return 0;
    x->left = epoll_create1(EPOLL_CLOEXEC);
    return x->left < 0 || epoll_ctl(x->left, EPOLL_CTL_ADD, client, &event) < 0 ? -errno : 0;
}

/* How the body is told. The library would add an Expect of its own, and a type. */
static int frame(struct exchange *x, int64_t length)
{
    int r = length == EXCHANGE_CHUNKED ? exchange_add_header(x, "Transfer-Encoding", "chunked") : 0;
    struct curl_slist *longer = r == 0 ? curl_slist_append(x->headers, x->expects ? "Expect: 100-continue" : "Expect:") : NULL;
    if (longer == NULL)
        return -ENOMEM;
    x->headers = longer;
    return 0;
}

static void set_up(struct exchange *x, int64_t length)
{
    CURL *curl = x->lane.easy;
    const struct config_api *config = x->up->config;
    bool reads = strcmp(x->method, "GET") == 0 || strcmp(x->method, "HEAD") == 0;
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, x->method);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#if LIBCURL_VERSION_NUM >= 0x075500 /* 7.85 */
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
    if (strcmp(x->method, "HEAD") == 0)
        curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    if (x->body) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)length);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_wanted);
        curl_easy_setopt(curl, CURLOPT_READDATA, x);
    }
    if (!reads) /* on a connection that Glance just closed, it would have to be sent twice */
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)(x->hurried ? UPSTREAM_HURRY_SECONDS : CONNECT_SECONDS));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(curl, CURLOPT_HTTP_TRANSFER_DECODING, 1L);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, x->why);
    if (config->auth_ca_file != NULL) {
        curl_easy_setopt(curl, CURLOPT_CAINFO, config->auth_ca_file);
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL); /* else the system's authorities are trusted, too */
    }
}

/* At the next Glance. -ENODEV: there is no more. */
static int aim(struct exchange *x)
{
    if (!endpoints_get(x->up->glance, x->tried, x->base))
        return -ENODEV;
    x->tried++;
    free(x->target);
    if (asprintf(&x->target, "%s%s", upstream_prefix(x->base), x->uri) < 0) {
        x->target = NULL;
        return -ENOMEM;
    }
    curl_easy_setopt(x->lane.easy, CURLOPT_URL, x->base);
    curl_easy_setopt(x->lane.easy, CURLOPT_REQUEST_TARGET, x->target); /* as it came: what the library would make of it, we do not know */
    return 0;
}

int exchange_new(struct upstream *u, const struct exchange_request *request, struct exchange **ret)
{
    uint64_t patience = u->config->upstream_timeout, hurry = UPSTREAM_HURRY_SECONDS;
    struct exchange *x = calloc(1, sizeof(*x));
    if (x == NULL)
        return -ENOMEM;
    *x = (struct exchange){.up = u, .method = request->method, .uri = request->uri, .body = request->length != EXCHANGE_NO_BODY, .expects = request->expects,
                           .hurried = request->hurried, .left = -1};
    x->patience = (int64_t)(request->hurried && patience > hurry ? hurry : patience) * NS_PER_S;
    int r = lane_take(u, &x->lane);
    if (r == 0)
        r = aim(x);
    if (r == 0)
        r = watch(x, request->client);
    if (r == 0)
        r = frame(x, request->length);
    if (r < 0) {
        exchange_free(x);
        return r;
    }
    set_up(x, request->length);
    *ret = x;
    return 0;
}

void exchange_free(struct exchange *x)
{
    if (x == NULL)
        return;
    if (x->lane.multi != NULL)
        lane_give(x->up, &x->lane, x->done && x->error == 0);
    if (x->left >= 0)
        close(x->left);
    curl_slist_free_all(x->headers);
    free(x->target);
    free(x->head);
    free(x->buffer);
    free(x);
}

/* ---- working it */

static int error_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return -ECONNREFUSED;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_WRITE_ERROR:
        return -EPROTO;
    default:
        return -EIO;
    }
}

static int fail(struct exchange *x, int error, const char *why)
{
    x->error = error;
    if (x->why[0] == '\0')
        snprintf(x->why, sizeof(x->why), "%s", why);
    if (error != -ECONNABORTED && error != -ENOMEM)
        upstream_note(x->up, x->base, x->why);
    return error;
}

static int take_message(struct exchange *x)
{
    int left;
    CURLMsg *message = curl_multi_info_read(x->lane.multi, &left);
    if (message == NULL || message->msg != CURLMSG_DONE)
        return 0;
    CURLcode code = message->data.result;
    if (error_of(code) == -ECONNREFUSED && aim(x) == 0) { /* nothing was sent yet */
        curl_multi_remove_handle(x->lane.multi, x->lane.easy);
        x->why[0] = '\0';
        return curl_multi_add_handle(x->lane.multi, x->lane.easy) == CURLM_OK ? 0 : fail(x, -ENOMEM, "out of memory");
    }
    x->done = true;
    if (code != CURLE_OK)
        return fail(x, error_of(code), curl_easy_strerror(code));
    return x->head_done ? 0 : fail(x, -EPROTO, "its answer has no head");
}

/* What was paused goes on where it can. */
static void unpause(struct exchange *x)
{
    bool send = x->send_paused && (x->piece_length > 0 || x->ended);
    bool receive = x->receive_paused && BUFFER_BYTES - (x->end - x->begin) >= CURL_MAX_WRITE_SIZE;
    if (!send && !receive)
        return;
    int still = (x->send_paused && !send ? CURLPAUSE_SEND : 0) | (x->receive_paused && !receive ? CURLPAUSE_RECV : 0);
    x->send_paused = x->send_paused && !send;
    x->receive_paused = x->receive_paused && !receive;
    curl_easy_pause(x->lane.easy, still);
}

/* Waits for Glance a while. */
static int wait_for_it(struct exchange *x, int64_t now, int64_t until)
{
    struct curl_waitfd left = {.fd = x->left, .events = CURL_WAIT_POLLIN};
    struct epoll_event event;
    int64_t ms = (until - now) / (NS_PER_S / 1000) + 1;
    if (curl_multi_poll(x->lane.multi, &left, x->left >= 0 ? 1 : 0, (int)(ms < 60000 ? ms : 60000), NULL) != CURLM_OK)
        return fail(x, -EIO, "it cannot be waited for");
    if (x->left >= 0 && epoll_wait(x->left, &event, 1, 0) > 0)
        return fail(x, -ECONNABORTED, "the client has left");
    return 0;
}

static int run(struct exchange *x, bool (*enough)(const struct exchange *x))
{
    int64_t until = clock_monotonic() + x->patience;
    int running, r = x->error;
    if (r == 0 && !x->started && curl_multi_add_handle(x->lane.multi, x->lane.easy) != CURLM_OK)
        r = fail(x, -ENOMEM, "out of memory");
    x->started = true;
    while (r == 0 && !x->done) {
        uint64_t before = x->moved;
        unpause(x);
        if (curl_multi_perform(x->lane.multi, &running) != CURLM_OK)
            return fail(x, -EIO, "the request cannot be worked on");
        r = take_message(x);
        if (r < 0 || x->done || enough(x))
            break;
        int64_t now = clock_monotonic();
        if (x->moved != before)
            until = now + x->patience;
        if (now >= until) {
            x->why[0] = '\0';
            return fail(x, -ETIMEDOUT, "it has been silent for upstream_timeout");
        }
        r = wait_for_it(x, now, until);
    }
    return r;
}

/* It has refused: what is left of the body is not for it. After another answer it may still read. */
static bool refused(const struct exchange *x)
{
    return x->head_done && x->status >= 400;
}

static bool wanted_or_answered(const struct exchange *x)
{
    return x->wanted || x->head_done;
}

static bool taken_or_answered(const struct exchange *x)
{
    return x->piece_length == 0 || refused(x);
}

static bool answered(const struct exchange *x)
{
    return x->head_done;
}

static bool readable(const struct exchange *x)
{
    return x->end > x->begin;
}

int exchange_begin(struct exchange *x)
{
    int r = run(x, wanted_or_answered);
    return r < 0 ? r : !x->head_done;
}

int exchange_send(struct exchange *x, const char *bytes, size_t length)
{
    if (refused(x) || x->done)
        return x->error;
    x->piece = bytes;
    x->piece_length = length;
    int r = run(x, taken_or_answered);
    x->piece = NULL;
    x->piece_length = 0;
    return r;
}

int exchange_head(struct exchange *x)
{
    x->ended = true;
    int r = run(x, answered);
    if (r == 0) {
        upstream_note(x->up, x->base, NULL);
        endpoints_reached(x->up->glance, x->base);
    }
    return r;
}

ssize_t exchange_read(struct exchange *x, char *buffer, size_t size)
{
    int r = readable(x) ? 0 : run(x, readable);
    size_t n = x->end - x->begin < size ? x->end - x->begin : size;
    if (n == 0)
        return r;
    memcpy(buffer, x->buffer + x->begin, n);
    x->begin += n;
    if (x->begin == x->end)
        x->begin = x->end = 0;
    return (ssize_t)n;
}
