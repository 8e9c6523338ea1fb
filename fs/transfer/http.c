/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP transfers: libcurl's easy handles, what is asked of them, and what its errors mean.
 *
 * A handle belongs to one transfer from begin to end, then goes back to a small pool of its loop, reset: connections,
 * names and TLS sessions are the loop's and stay. libcurl frees the receive buffer of a handle when its transfer ends.
 *
 * libcurl hands out a body in pieces of 16 KiB, however much it received at once. They are gathered in the loop's
 * buffer, for one transfer at a time, and passed on when libcurl has no more for now: users write few large pieces to
 * disk, which costs the kernel half as much, and nothing waits for bytes that are yet to come.
 *
 * A transfer with a cap is paused when it is a little ahead of it: libcurl's own cap lets bursts of megabytes through.
 *
 * libcurl does not follow redirects here, see redirect.c. Everything runs on the loop's thread; no lock.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes read of the body of an answer that redirects, so that its connection can be used again. */
enum { REDIRECT_BODY_MAX = 64 * 1024 };

/* ---- the multi handle */

static void global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

int transfer_http_open(struct transfers *t)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, global_init);
    t->multi = curl_multi_init();
    t->share = curl_share_init();
    if (!t->multi || !t->share) {
        return -ENOMEM;
    }
    /* No lock functions: all handles of this share are used by one thread. */
    if (curl_share_setopt(t->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION) != CURLSHE_OK ||
        curl_multi_setopt(t->multi, CURLMOPT_MAXCONNECTS, 64L) != CURLM_OK ||
        curl_multi_setopt(t->multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX) != CURLM_OK) {
        return -EIO;
    }
    return 0;
}

void transfer_http_close(struct transfers *t)
{
    while (t->idle_count > 0) {
        curl_easy_cleanup(t->idle[--t->idle_count]);
    }
    curl_multi_cleanup(t->multi);
    if (t->share) {
        curl_share_cleanup(t->share);
    }
}

static CURL *take_handle(struct transfers *t)
{
    return t->idle_count > 0 ? t->idle[--t->idle_count] : curl_easy_init();
}

static void give_handle_back(struct transfers *t, CURL *easy)
{
    curl_easy_reset(easy); /* now, so that it holds no secrets and no pointers while it waits */
    if (t->idle_count < TRANSFER_IDLE_HANDLES) {
        t->idle[t->idle_count++] = easy;
    } else {
        curl_easy_cleanup(easy);
    }
}

/* ---- callbacks of libcurl: what they return, when it is not the length, makes libcurl end the transfer */

enum { REFUSED = 0 };

static int head_complete(struct transfer *transfer)
{
    if (transfer->head.status < 200) { /* 1xx: the answer is still to come */
        return 0;
    }
    transfer_head_fill(&transfer->head, &transfer->headers);
    int r = transfer_plan_redirect(transfer);
    if (r == 0) {
        r = transfer_give_head(transfer);
    }
    if (r < 0) {
        transfer->error = r;
    }
    transfer->head_done = true;
    return r < 0 ? r : 0;
}

static size_t on_header(char *line, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (transfer->place == TRANSFER_DEAD) {
        return REFUSED;
    }
    if (transfer->head_done) { /* a trailer */
        return length;
    }
    int status = transfer_status_line(line, length);
    if (status > 0) {
        transfer_headers_reset(&transfer->headers);
        transfer->head.status = status;
    } else if (length <= 2 && (line[0] == '\r' || line[0] == '\n')) {
        return head_complete(transfer) < 0 ? REFUSED : length;
    } else {
        transfer_headers_add(&transfer->headers, line, length);
    }
    return length;
}

/* Has the transfer had so much that it is to pause? Not for every small step ahead: pausing costs a copy. */
static bool over_cap(const struct transfer *transfer)
{
    enum { AHEAD = 100 * 1000 * 1000 }; /* ns */
    return transfer->request.max_rate > 0 && transfer->due > transfers_clock_ns() + AHEAD;
}

/* Passes on what was gathered, whoever it is for. */
static void pass_gathered(struct transfers *t)
{
    struct transfer *transfer = t->gathering;
    t->gathering = NULL;
    if (transfer && transfer_give_data(transfer, t->buffer, t->gathered) < 0) {
        t->refused = true;
    }
}

static bool gather(struct transfer *transfer, const char *data, size_t length)
{
    struct transfers *t = transfer->loop;
    if (t->gathering != transfer || t->gathered + length > TRANSFER_GATHERED_MAX) {
        pass_gathered(t);
        if (transfer->place == TRANSFER_DEAD || transfer->error < 0) { /* through a callback just made */
            return false;
        }
        if (length > TRANSFER_GATHERED_MAX || !transfers_buffer(t)) {
            return transfer_give_data(transfer, data, length) == 0;
        }
        t->gathering = transfer;
        t->gathered = 0;
    }
    memcpy(t->buffer + t->gathered, data, length);
    t->gathered += length;
    return true;
}

static size_t on_body(char *data, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    size_t length = size * count;
    if (transfer->place == TRANSFER_DEAD || transfer->error < 0) {
        return REFUSED;
    }
    if (transfer->redirect) {
        transfer->dropped += length;
        return transfer->dropped > REDIRECT_BODY_MAX ? REFUSED : length;
    }
    if (over_cap(transfer)) {
        transfer->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer_count_rate(transfer, length);
    return gather(transfer, data, length) ? length : REFUSED;
}

/* ---- what is asked of libcurl */

#define SET(option, value) (good = curl_easy_setopt(easy, option, value) == CURLE_OK && good)

static bool configure_connection(CURL *easy, const struct config *config)
{
    bool good = true;
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_CONNECTTIMEOUT, (long)config->connect_timeout);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_TCP_KEEPALIVE, 1L);
    SET(CURLOPT_TCP_KEEPIDLE, 60L);
    SET(CURLOPT_TCP_KEEPINTVL, 30L);
    SET(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_PATH_AS_IS, 1L);
#if LIBCURL_VERSION_NUM >= 0x075500
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
#else
    SET(CURLOPT_PROTOCOLS, (long)(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
#if LIBCURL_VERSION_NUM >= 0x075700
    SET(CURLOPT_QUICK_EXIT, 1L); /* a cancelled transfer does not wait for the resolver */
#endif
    if (config->proxy) {
        SET(CURLOPT_PROXY, config->proxy);
    }
    if (config->ca_file) {
        SET(CURLOPT_CAINFO, config->ca_file);
        SET(CURLOPT_CAPATH, NULL); /* this file instead of the system's authorities, not beside them */
    }
    if (config->client_cert_file) {
        SET(CURLOPT_SSLCERT, config->client_cert_file);
    }
    if (config->client_key_file) {
        SET(CURLOPT_SSLKEY, config->client_key_file);
    }
    if (config->insecure) {
        SET(CURLOPT_SSL_VERIFYPEER, 0L);
        SET(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS); /* may fail: a libcurl without HTTP/2 */
    return good;
}

static bool add_header(struct curl_slist **list, const char *line)
{
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer) {
        *list = longer;
    }
    return longer;
}

/* The headers as libcurl wants them: for it, a "Name:" without a value says that the header is not to be sent. */
static struct curl_slist *list_headers(const struct transfer_request *request, bool *good)
{
    struct curl_slist *list = NULL;
    for (size_t i = 0; i < request->header_count; i++) {
        const char *line = request->headers[i], *colon = strchr(line, ':');
        if (colon && colon[1 + strspn(colon + 1, " \t")] == '\0') {
            char *empty = NULL;
            *good = asprintf(&empty, "%.*s;", (int)(colon - line), line) >= 0 && add_header(&list, empty) && *good;
            free(empty);
        } else {
            *good = add_header(&list, line) && *good;
        }
    }
    if (request->body) {
        *good = add_header(&list, "Expect:") && *good;
        if (!transfer_request_find(request, "Content-Type")) {
            *good = add_header(&list, "Content-Type:") && *good;
        }
    }
    return list;
}

static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *line = list; line; line = line->next) {
        explicit_bzero(line->data, strlen(line->data));
    }
    curl_slist_free_all(list);
}

static bool configure_request(struct transfer *transfer, CURL *easy)
{
    const struct transfer_request *request = &transfer->request;
    const char *method = transfer_method(transfer);
    bool good = true;
    SET(CURLOPT_URL, request->url);
    SET(CURLOPT_USERAGENT, "glance-cache-fs");
    if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
    } else if (request->body || strcmp(method, "POST") == 0) {
        SET(CURLOPT_POST, 1L);
        SET(CURLOPT_POSTFIELDS, request->body ? (const char *)request->body : "");
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        SET(CURLOPT_CUSTOMREQUEST, method);
    } else if (strcmp(method, "GET") != 0) {
        SET(CURLOPT_CUSTOMREQUEST, method);
    }
    if (request->ranged) {
        char range[48];
        snprintf(range, sizeof range, "%" PRIu64 "-%" PRIu64, request->first, request->last);
        SET(CURLOPT_RANGE, range);
    }
    transfer->header_list = list_headers(request, &good);
    SET(CURLOPT_HTTPHEADER, transfer->header_list);
    if (request->user_password) {
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(CURLOPT_USERPWD, request->user_password);
    }
    if (request->aws_sigv4) {
        SET(CURLOPT_AWS_SIGV4, request->aws_sigv4);
    }
    return good;
}

/* When a transfer counts as stalled: libcurl does not count the pauses that keep it to its cap, see over_cap(). */
static bool configure_rate(const struct transfer *transfer, CURL *easy)
{
    const struct config *config = transfer->loop->config;
    uint64_t rate = transfer->request.max_rate, limit = config->stall_rate;
    bool good = true;
    if (rate > 0 && rate / 2 < limit) {
        limit = rate / 2;
    }
    if (limit > INT32_MAX) {
        limit = INT32_MAX;
    }
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)(limit > 0 ? limit : 1));
    SET(CURLOPT_LOW_SPEED_TIME, (long)config->stall_timeout);
    return good;
}

void transfer_http_set_rate(struct transfer *transfer)
{
    if (transfer->easy) {
        configure_rate(transfer, transfer->easy);
    }
}

static bool configure_callbacks(struct transfer *transfer, CURL *easy)
{
    bool good = true;
    SET(CURLOPT_PRIVATE, transfer);
    SET(CURLOPT_SHARE, transfer->loop->share);
    SET(CURLOPT_ERRORBUFFER, transfer->curl_message);
    SET(CURLOPT_HEADERFUNCTION, on_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, on_body);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_BUFFERSIZE, (long)TRANSFER_RECEIVE_MAX);
    return good;
}

int transfer_http_begin(struct transfer *transfer)
{
    struct transfers *t = transfer->loop;
    CURL *easy = transfer->easy = take_handle(t);
    if (!easy) {
        return -ENOMEM;
    }
    if (!configure_connection(easy, t->config) || !configure_callbacks(transfer, easy) ||
        !configure_request(transfer, easy) || !configure_rate(transfer, easy)) {
        transfer_message(transfer, "libcurl refuses the request");
        return -ENOMEM;
    }
    return curl_multi_add_handle(t->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

void transfer_http_end(struct transfer *transfer)
{
    if (transfer->easy) {
        curl_multi_remove_handle(transfer->loop->multi, transfer->easy); /* one never added is fine */
        give_handle_back(transfer->loop, transfer->easy);
        transfer->easy = NULL;
    }
    free_headers(transfer->header_list);
    transfer->header_list = NULL;
}

/* ---- the end of a transfer */

static int connect_error(CURL *easy)
{
    long number = 0;
    curl_easy_getinfo(easy, CURLINFO_OS_ERRNO, &number);
    switch (number) {
    case ETIMEDOUT:
        return -ETIMEDOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
        return -EHOSTUNREACH;
    default:
        return -ECONNREFUSED;
    }
}

/* Also a proxy that refuses to connect us ends as "failure in receiving". */
static int receive_error(CURL *easy)
{
    long status = 0;
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &status);
    return status >= 300 ? -EHOSTUNREACH : -ECONNRESET;
}

static int error_of(CURL *easy, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return 0;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_PROXY:
        return -EHOSTUNREACH;
    case CURLE_COULDNT_CONNECT:
        return connect_error(easy);
    case CURLE_OPERATION_TIMEDOUT:
        return -ETIMEDOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return -ECONNRESET;
    case CURLE_RECV_ERROR:
        return receive_error(easy);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
        return -EKEYREJECTED;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_USE_SSL_FAILED:
    case CURLE_UNSUPPORTED_PROTOCOL: /* HTTP/0.9: other schemes do not come here */
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_BAD_CONTENT_ENCODING:
        return -EPROTO;
    case CURLE_URL_MALFORMAT:
        return -EINVAL;
    case CURLE_OUT_OF_MEMORY:
        return -ENOMEM;
    default:
        return -EIO;
    }
}

/* libcurl holds a body to its Content-Length itself, but not in every version and protocol. */
static bool body_is_short(const struct transfer *transfer)
{
    const struct transfer_head *head = &transfer->head;
    return head->length != TRANSFER_LENGTH_UNKNOWN && transfer->result.received < head->length && head->status != 304 &&
           head->status != 204 && strcmp(transfer_method(transfer), "HEAD") != 0;
}

static void done(struct transfer *transfer, CURLcode code)
{
    int error = error_of(transfer->easy, code);
    transfer_http_end(transfer);
    if (transfer->redirect && transfer->error == 0) { /* whatever became of the body of this answer */
        transfer_apply_redirect(transfer);
        transfer->curl_message[0] = '\0';
        int r = transfer_http_begin(transfer);
        if (r < 0) {
            transfer_finish(transfer, r);
        }
        return;
    }
    if (error == 0 && (!transfer->head_done || body_is_short(transfer))) {
        error = -ECONNRESET;
        code = CURLE_PARTIAL_FILE;
    }
    if (error < 0 && transfer->error == 0) {
        transfer_message(transfer, "%s", *transfer->curl_message ? transfer->curl_message : curl_easy_strerror(code));
    }
    transfer_finish(transfer, error);
}

static struct transfer *next_to_resume(const struct transfers *t, uint64_t now)
{
    struct transfer *transfer;
    TAILQ_FOREACH(transfer, &t->http, link) {
        if (transfer->paused && transfer->due <= now) {
            return transfer;
        }
    }
    return NULL;
}

static void resume_paused(struct transfers *t)
{
    uint64_t now = transfers_clock_ns();
    struct transfer *transfer;
    while ((transfer = next_to_resume(t, now))) { /* from the start each time: callbacks may have changed the list */
        transfer->paused = false;
        /* This calls on_body, whose refusal does not end the transfer here. */
        CURLcode code = curl_easy_pause(transfer->easy, CURLPAUSE_CONT);
        if (code != CURLE_OK && transfer->place == TRANSFER_HTTP) {
            transfer->error = transfer->error < 0 ? transfer->error : error_of(transfer->easy, code);
            t->refused = true;
        }
    }
}

/* Ends the transfers whose bytes were refused outside of their own calls by libcurl. */
static void end_refused(struct transfers *t)
{
    while (t->refused) {
        t->refused = false;
        struct transfer *transfer;
        TAILQ_FOREACH(transfer, &t->http, link) {
            if (transfer->error < 0) {
                t->refused = true; /* look again: on_done may have changed the list */
                transfer_finish(transfer, transfer->error);
                break;
            }
        }
    }
}

static void collect_done(struct transfers *t)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(t->multi, &left))) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        char *private = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *transfer = (struct transfer *)(void *)private;
        assert(transfer);
        if (transfer->place != TRANSFER_DEAD) {
            done(transfer, code);
        }
    }
}

void transfer_http_perform(struct transfers *t)
{
    int running;
    resume_paused(t);
    curl_multi_perform(t->multi, &running);
    pass_gathered(t);
    end_refused(t);
    collect_done(t);
}

int transfers_set_up(void) { return curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : -ENOMEM; }

void transfers_clean_up(void) { curl_global_cleanup(); }
