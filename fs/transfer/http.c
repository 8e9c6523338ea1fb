/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP transfers: what libcurl's easy handles hand out. Where handles come from, see handles.c; what is asked of them, options.c.
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bytes read of the body of an answer that redirects, so that its connection can be used again. */
enum { REDIRECT_BODY_MAX = 64 * 1024 };

/* ---- callbacks of libcurl: what they return, when it is not the length, makes libcurl end the transfer */

enum { REFUSED = 0 };

/* What is refused is said in words only in the body, which S3 makes of XML: that much is read, though nobody takes it for an answer. */
static bool keep_document(struct transfer *transfer)
{
    const char *type = transfer_headers_get(&transfer->headers, "content-type");
    if (transfer->head.status < 400 || !type || !strcasestr(type, "xml") || strcmp(transfer_method(&transfer->request), "HEAD") == 0) {
        return false;
    }
    transfer->document = calloc(1, TRANSFER_DOCUMENT_MAX + 1);
    return transfer->document;
}

static bool add_to_document(struct transfer *transfer, const char *data, size_t length)
{
    size_t room = TRANSFER_DOCUMENT_MAX - transfer->document_length, n = length < room ? length : room;
    memcpy(transfer->document + transfer->document_length, data, n);
    transfer->document_length += n;
    return n == length;
}

/* Is the head that just came to be followed? 1: yes, to transfer->redirect; 0: it is the answer; or an error. */
static int look_for_redirect(struct transfer *transfer)
{
    const char *why = NULL;
    int r = transfer_redirect_plan(&transfer->request, &transfer->head, &transfer->headers, transfer->redirects, &transfer->redirect, &why);
    if (why) {
        transfer_message(transfer, "%s", why);
    }
    return r;
}

static int head_complete(struct transfer *transfer)
{
    if (transfer->head.status < 200) { /* 1xx: the answer is still to come */
        return 0;
    }
    transfer_head_fill(&transfer->head, &transfer->headers);
    int r = look_for_redirect(transfer);
    if (r == 0) {
        r = transfer_give_head(transfer);
    }
    if (r < 0) {
        transfer->error = r;
    }
    transfer->head_done = true;
    return r < 0 && !keep_document(transfer) ? r : 0;
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

/* As libcurl would, but that it does not tell why there is none. */
static curl_socket_t on_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct transfer *transfer = context;
    (void)purpose;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    transfer->socket_error = fd < 0 ? errno : 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Is the transfer held, or has it had so much that it is to pause? Not for every small step ahead: pausing costs a copy. */
static bool over_cap(const struct transfer *transfer)
{
    enum { AHEAD = 100 * 1000 * 1000 }; /* ns */
    return transfer->held || (transfer->request.max_rate > 0 && transfer->due > transfers_clock_ns() + AHEAD);
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
    if (transfer->place != TRANSFER_DEAD && transfer->document) {
        return add_to_document(transfer, data, length) ? length : REFUSED;
    }
    if (transfer->place == TRANSFER_DEAD || transfer->error < 0) {
        return REFUSED;
    }
    if (transfer->redirect) {
        transfer->dropped += length;
        return transfer->dropped > REDIRECT_BODY_MAX ? REFUSED : length;
    }
    if (!transfer->head_done) { /* HTTP/2 lets a server send DATA without HEADERS */
        transfer_message(transfer, "a body came without its headers");
        transfer->error = -EPROTO;
        return REFUSED;
    }
    if (over_cap(transfer)) {
        transfer->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    transfer_count_rate(transfer, length);
    return gather(transfer, data, length) ? length : REFUSED;
}

static void free_headers(struct curl_slist *list)
{
    for (struct curl_slist *line = list; line; line = line->next) {
        explicit_bzero(line->data, strlen(line->data));
    }
    curl_slist_free_all(list);
}

/* ---- begin and end */

/*
 * Since 7.88.0 libcurl tells the server of a stream that is given up with the next thing it has to send on that connection (curl issue
 * 17611), until then the server keeps the stream and sends what its window takes. One that was alone there takes its connection along, as
 * it would with HTTP/1.1; for one that had ended this says nothing.
 */
static void let_go(struct transfer *transfer)
{
    curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 1L);
    curl_multi_remove_handle(transfer->loop->multi, transfer->easy); /* one never added is fine */
    transfer_handle_give_back(transfer->loop, transfer->easy);
    transfer->easy = NULL;
    free_headers(transfer->header_list);
    transfer->header_list = NULL;
}

static int configure_callbacks(struct transfer *transfer, CURL *easy)
{
    CURLcode codes[] = {
        curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer),
        curl_easy_setopt(easy, CURLOPT_SHARE, transfer->loop->share),
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->curl_message),
        curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header),
        curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer),
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body),
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer),
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_socket),
        curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer),
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (codes[i] != CURLE_OK) {
            transfer_message(transfer, "libcurl refuses its callbacks: %s", curl_easy_strerror(codes[i]));
            return codes[i] == CURLE_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
        }
    }
    return 0;
}

/* One handle is tried; when this fails the transfer has none. */
static int begin_with(struct transfer *transfer, CURL *easy)
{
    transfer->easy = easy;
    int r = configure_callbacks(transfer, easy);
    if (r == 0) {
        r = transfer_http_configure(transfer, easy);
    }
    if (r == 0) {
        CURLMcode code = curl_multi_add_handle(transfer->loop->multi, easy);
        if (code != CURLM_OK) {
            transfer_message(transfer, "libcurl does not begin the request: %s", curl_multi_strerror(code));
            r = code == CURLM_OUT_OF_MEMORY ? -ENOMEM : -EINVAL;
        }
    }
    if (r < 0) {
        let_go(transfer);
    }
    return r;
}

static int begin(struct transfer *transfer)
{
    CURL *easy = transfer_handle_take(transfer->loop);
    int r = easy ? begin_with(transfer, easy) : -ENOMEM;
    if (r == -EINVAL) { /* the fault of a handle that was used before? A new one tells. */
        easy = curl_easy_init();
        r = easy ? begin_with(transfer, easy) : -ENOMEM;
    }
    if (r == 0) {
        transfer->result.message[0] = '\0';
    }
    return r;
}

static void end(struct transfer *transfer)
{
    if (transfer->easy) {
        let_go(transfer);
    }
}

/* ---- the end of a transfer */

/* libcurl holds a body to its Content-Length itself, but not in every version and protocol. */
static bool body_is_short(const struct transfer *transfer)
{
    const struct transfer_head *head = &transfer->head;
    return head->length != TRANSFER_LENGTH_UNKNOWN && transfer->result.received < head->length && head->status != 304 &&
           head->status != 204 && strcmp(transfer_method(&transfer->request), "HEAD") != 0;
}

/*
 * Was it given up before there was an answer, by the end of its stream or of a connection that was in use before? A server may do that
 * at any time (GOAWAY, REFUSED_STREAM, ENHANCE_YOUR_CALM); it is asked anew, over a new connection if need be. libcurl does so itself
 * with HTTP/1.1.
 */
static bool may_begin_again(const struct transfer *transfer, CURLcode code)
{
    const char *method = transfer_method(&transfer->request);
    long connects = 1;
    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connects);
    bool kept = connects == 0 && (code == CURLE_SEND_ERROR || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING);
    return (kept || transfer_error_is_of_stream(code)) && !transfer->head_done && transfer->error == 0 &&
           transfer->begun_again < TRANSFER_STREAMS_MAX && (strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0);
}

static void begin_again(struct transfer *transfer)
{
    transfer->curl_message[0] = '\0';
    int r = begin(transfer);
    if (r < 0) {
        transfer_finish(transfer, r);
    }
}

static void follow_redirect(struct transfer *transfer)
{
    transfer_redirect_apply(&transfer->request, transfer->head.status, transfer->redirect);
    transfer->redirect = NULL;
    transfer->redirects++;
    transfer->dropped = 0;
    transfer->head_done = false;
    transfer->head.status = 0;
    transfer_headers_reset(&transfer->headers);
    begin_again(transfer);
}

static void done(struct transfer *transfer, CURLcode code)
{
    if (code == CURLE_OUT_OF_MEMORY && transfer->head.status > 0 && !transfer->head_done) {
        code = CURLE_WEIRD_SERVER_REPLY; /* a header longer than libcurl keeps */
        snprintf(transfer->curl_message, sizeof transfer->curl_message, "a header of the answer is too long");
    }
    int error = transfer_error(transfer->easy, code, transfer->socket_error);
    bool again = may_begin_again(transfer, code);
    end(transfer);
    if (again) {
        transfer->begun_again++;
        begin_again(transfer);
        return;
    }
    if (transfer->redirect && transfer->error == 0) { /* whatever became of the body of this answer */
        follow_redirect(transfer);
        return;
    }
    if (error == 0 && (!transfer->head_done || body_is_short(transfer))) {
        error = -ECONNRESET;
        code = CURLE_PARTIAL_FILE;
    }
    transfer->result.stream_only = transfer_error_is_of_stream(code) && transfer->error == 0;
    if (error == -EMFILE && transfer->error == 0) {
        long most = sysconf(_SC_OPEN_MAX);
        transfer_message(transfer, "the limit of %ld open files is met: raise it (LimitNOFILE= of the unit, ulimit -Hn)", most);
    } else if (error < 0 && transfer->error == 0) {
        transfer_message(transfer, "%s", *transfer->curl_message ? transfer->curl_message : curl_easy_strerror(code));
    }
    transfer_finish(transfer, error);
}

static struct transfer *next_to_resume(const struct transfers *t, uint64_t now)
{
    struct transfer *transfer;
    TAILQ_FOREACH(transfer, &t->at[TRANSFER_HTTP], link) {
        if (transfer->paused && !transfer->held && transfer->due <= now) {
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
            transfer->error = transfer->error < 0 ? transfer->error : transfer_error(transfer->easy, code, transfer->socket_error);
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
        TAILQ_FOREACH(transfer, &t->at[TRANSFER_HTTP], link) {
            if (transfer->error < 0 && !transfer->document) {
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

static void step(struct transfers *t)
{
    int running;
    resume_paused(t);
    curl_multi_perform(t->multi, &running);
    pass_gathered(t);
    end_refused(t);
    collect_done(t);
}

static uint64_t due(const struct transfers *t)
{
    uint64_t first = UINT64_MAX;
    const struct transfer *transfer;
    TAILQ_FOREACH(transfer, &t->at[TRANSFER_HTTP], link) {
        first = transfer->paused && !transfer->held && transfer->due < first ? transfer->due : first;
    }
    return first;
}

const struct transfer_driver transfer_http = {.place = TRANSFER_HTTP, .begin = begin, .end = end, .step = step, .due = due};
