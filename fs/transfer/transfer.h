/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers: the connections to backends, and the loop of the fetch thread. The only room that knows libcurl.
 *
 * A struct transfers is a loop that one thread runs (transfers_run). Requests, their callbacks, timers and posted calls
 * all happen on that thread, one at a time; it therefore needs no lock of its users. Only transfers_post(),
 * transfers_stop() and transfer_perform() may be called from other threads.
 *
 * A request goes over HTTP(S), or reads a local file (transfer_request.path): then pread() in slices on the loop, the
 * answer looking like HTTP's: 206 with first, last and total, an etag made of the file's inode, size and change time; a
 * file that is not there, or is no regular file, is status 404, one that may not be read 403; If-Match and If-Range are
 * honoured (412, 200), and a file that changes under way ends with -ESTALE.
 *
 * HTTP: redirects are followed (5, to http and https only); credentials, bodies and headers that may be secret are
 * never sent to another host, port or scheme (a POST that would have to be is answered with the redirect itself);
 * HTTP/2 over TLS where the server speaks it, with multiplexing; a GET whose stream or kept connection the server gives up before
 * it answers is asked anew (twice); connections are kept; no signal, no .netrc, no cookie;
 * a decoded body is never asked for (no Accept-Encoding): bytes are bytes.
 */
#ifndef GCFS_TRANSFER_H
#define GCFS_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"

#define TRANSFER_LENGTH_UNKNOWN UINT64_MAX

struct transfers;
struct transfer;

/* ---- a request: a value its maker fills and clears; transfer_start() copies what it needs */

struct transfer_request {
    const char *method; /* NULL: GET. A string that is never freed. */
    char *url;          /* or */
    char *path;         /* of a local file */
    char **headers;     /* "Name: value", header_count of them */
    size_t header_count;
    char *user_password; /* "user:password" for basic authentication; NULL */
    char *aws_sigv4;     /* "aws:amz:REGION:s3": sign with user_password as key:secret; a path with "." or ".." changes then; NULL */
    bool ranged;         /* ask for bytes first … last (inclusive) only */
    uint64_t first, last;
    void *body;          /* sent with POST or PUT; NULL: none */
    size_t body_length;
    uint64_t max_rate;   /* bytes a second; 0: no limit */
    bool direct;         /* past any proxy */
    bool fresh;          /* over a connection of its own, which others may use later */
    unsigned patience;   /* seconds without stall_rate bytes a second before it is given up; 0: as configured */
    unsigned extras;     /* its maker's note, see backends/abilities.h */
};

void transfer_request_clear(struct transfer_request *request); /* frees the members, zeroes it; secrets are wiped */
/* -ENOMEM; -EINVAL when the header would hold a line break. */
int transfer_request_header(struct transfer_request *request, const char *name, const char *value);
/* TEXT percent-encoded for one path segment (RFC 3986 unreserved characters stay, everything else, '/' and '%'
 * included, is escaped; ids that consist of dots only are escaped whole). free() it; NULL: no memory. */
char *transfer_escape(const char *text);
/* The reverse, in place. Returns the length; -EINVAL for an escaped NUL. A '%' without two hex digits stays. */
int transfer_unescape(char *text);

/* ---- an answer */

struct transfer_head { /* valid during on_head and on_data */
    int status;         /* of the last response after redirects */
    uint64_t length;    /* Content-Length; TRANSFER_LENGTH_UNKNOWN */
    bool ranged;        /* a Content-Range was there and made sense: */
    uint64_t first, last; /* first > last: unsatisfied (bytes 'star'/total) */
    uint64_t total;     /* TRANSFER_LENGTH_UNKNOWN for a star */
    unsigned retry_after; /* seconds, from either form of Retry-After, at most 3600; 0: none */
    const struct transfer *transfer;
};
/* Any response header, by name (any case): the last one of that name; NULL. Valid as long as the head. */
const char *transfer_head_get(const struct transfer_head *head, const char *name);

struct transfer_result {
    int status;           /* 0: no response was had */
    uint64_t received;    /* bytes of body given to on_data */
    bool stream_only;     /* an HTTP/2 server gave up this stream, or told its connection to end: nothing is said against it */
    char message[256];    /* of libcurl or the system, for the log; "" */
    const struct transfer_head *head; /* of the answer, as long as on_done runs; NULL: there was none */
    const char *document; /* likewise: how the XML of a refusal (4xx, 5xx) begins that on_head would not have; "" */
};

struct transfer_ops {
    /* Status and headers are here. 0: go on; negative: end the transfer with that as its error. May be NULL. */
    int (*on_head)(void *context, const struct transfer_head *head);
    /* Bytes of the body, in order. 0 or a negative error as above. May be NULL: dropped. */
    int (*on_data)(void *context, const struct transfer_head *head, const void *data, size_t length);
    /*
     * The end, called exactly once unless the transfer was cancelled. ERROR 0: the response came whole (whatever its
     * status). Else negative errno: -ECONNREFUSED, -EHOSTUNREACH (no such host, no route, refused by the proxy),
     * -EINVAL (libcurl does not take the request), -ETIMEDOUT (connect, or stalled), -ECONNRESET (ended early, short body), -EPROTO (not HTTP, TLS, a redirect to
     * nonsense), -EKEYREJECTED (the certificate), -ELOOP (redirects; on_head is not called), -ESTALE (a local file
     * changed), -EMFILE, -ENFILE, -ENOBUFS (there is no descriptor or memory for a socket), -ECANCELED (the loop stops), -ENOMEM, -EIO and the like (a local file cannot be read), or what a
     * callback returned.
     */
    void (*on_done)(void *context, int error, const struct transfer_result *result);
};

/* Is it for want of something on this machine (descriptors, memory), so that it says nothing of the server? */
bool transfer_error_is_local(int error);

/* ---- the loop */

/* Once, before the first loop and while the process has one thread; and after the last. -ENOMEM. */
int transfers_set_up(void);
void transfers_clean_up(void);

/* CONFIG gives proxy, certificates, time-outs; it must outlive the loop. -ENOMEM, -EIO (libcurl). */
int transfers_new(const struct config *config, struct transfers **ret);
/* Runs until transfers_stop(); then every transfer still there ends with -ECANCELED. Returns 0 or -EIO. */
int transfers_run(struct transfers *t);
void transfers_stop(struct transfers *t); /* any thread; at once */
void transfers_free(struct transfers *t); /* after transfers_run() returned. NULL is fine. */

/* Any thread: FN(CONTEXT) is called on the loop, in the order of posting. -ENOMEM. Calls still queued when the loop
 * ends are made before transfers_run() returns; afterwards -ECANCELED. */
int transfers_post(struct transfers *t, void (*fn)(void *context), void *context);
/* The same, for what must be told: without memory the process ends, so that a new one can go on. False: the loop has ended, FN is not called. */
bool transfers_tell(struct transfers *t, void (*fn)(void *context), void *context);

/* On the loop: FN(CONTEXT) once, after MS milliseconds; not called any more once the loop stops. */
struct transfer_timer;
int transfers_timer(struct transfers *t, uint64_t ms, void (*fn)(void *context), void *context,
                    struct transfer_timer **ret);
void transfers_timer_cancel(struct transfers *t, struct transfer_timer *timer);

/* On the loop. OPS must outlive the transfer. No callback is made before this returns. -ENOMEM; -EINVAL (neither or
 * both of url and path, a url that is not http's, a range that ends before it starts); -ECANCELED: the loop ends. */
int transfer_start(struct transfers *t, const struct transfer_request *request, const struct transfer_ops *ops,
                   void *context, struct transfer **ret);
/* On the loop, not from the transfer's own callbacks: ends it without on_done. */
void transfer_cancel(struct transfer *transfer);
void transfer_set_max_rate(struct transfer *transfer, uint64_t bytes_per_second); /* on the loop; 0: no limit */

/* On the loop, not from a callback of the transfer: while HOLD, no more of an answer over HTTP is taken than is under way, and its server
 * waits. That is no stall. */
void transfer_hold(struct transfer *transfer, bool hold);

/* Any other thread: the same request, start to end, on the caller's thread, with callbacks there. Returns what on_done
 * (which is called too, when there is one) got. Ends with -ECANCELED soon after transfers_stop(). */
int transfer_perform(struct transfers *t, const struct transfer_request *request, const struct transfer_ops *ops,
                     void *context);

#endif
