/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the transfer room share with each other, and with nobody else:
 *   head.c      headers of an answer
 *   request.c   requests as values
 *   url.c       urls: which are taken, whose server they are of
 *   redirect.c  where an answer sends a request, and what of it goes there; pure
 *   error.c     what libcurl's errors mean
 *   options.c   what is asked of libcurl
 *   transfer.c  the life of a transfer: its callbacks, cancelling, its end
 *   handles.c   libcurl's handles of a loop
 *   http.c      driver: over libcurl
 *   local.c     driver: local files
 *   loop.c      the loop: starting, rounds, posted calls, timers
 *   perform.c   transfer_perform(): a loop on the caller's thread
 * Each calls those above it only.
 *
 * A transfer stands in exactly one list of its loop, told by its place:
 *
 *   STARTING --> HTTP or LOCAL --> (on_done) freed
 *       |             |
 *       +-------------+--> DEAD, when cancelled --> freed by the loop's next round
 *
 * Both starting and cancelling only move between lists, because libcurl refuses to add or remove a handle from inside a
 * callback; the next round does the rest.
 */
#ifndef GCFS_TRANSFER_PRIVATE_H
#define GCFS_TRANSFER_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <sys/stat.h>

#include "transfer/transfer.h"

enum {
    TRANSFER_IDLE_HANDLES = 8,      /* easy handles kept for reuse; their receive buffers are freed */
    TRANSFER_IDLE_PERFORMERS = 2,   /* loops kept for transfer_perform(), each with its connections */
    TRANSFER_RECEIVE_MAX = 128 * 1024, /* bytes one recv() takes at most, of each connection; more is not faster */
    TRANSFER_GATHERED_MAX = 512 * 1024, /* bytes of a body passed on at once */
    TRANSFER_BUFFER = 1024 * 1024,  /* bytes of a loop's buffer, and of a slice of a local file */
    TRANSFER_HEADERS_MAX = 64 * 1024, /* bytes of headers kept of one answer; one that does not fit is dropped */
    TRANSFER_REDIRECTS_MAX = 5,
    TRANSFER_DOCUMENT_MAX = 4096, /* bytes of a refusal that are kept */
    TRANSFER_STREAMS_MAX = 2, /* times that a request is made anew when its stream is given up without an answer */
};

/* ---- headers of an answer (head.c) */

struct transfer_headers {
    char *text; /* "name\0value\0", one after another */
    size_t length, size;
};

void transfer_headers_reset(struct transfer_headers *headers); /* empty, memory kept */
void transfer_headers_clear(struct transfer_headers *headers); /* empty, memory freed */
/* Keeps LINE ("Name: value", with or without its end of line). Other lines, those that hold a NUL or carriage return, and what does
 * not fit, are dropped. */
void transfer_headers_add(struct transfer_headers *headers, const char *line, size_t length);
const char *transfer_headers_get(const struct transfer_headers *headers, const char *name); /* the last one; NULL */
/* The status of "HTTP/1.1 206 …"; 0: not a status line. */
int transfer_status_line(const char *line, size_t length);
/* Fills all members of HEAD but .status and .transfer from the headers. */
void transfer_head_fill(struct transfer_head *head, const struct transfer_headers *headers);

/* ---- requests (request.c) */

int transfer_request_copy(const struct transfer_request *from, struct transfer_request *to); /* -ENOMEM */
/* The value of the first header NAME; NULL. */
const char *transfer_request_find(const struct transfer_request *request, const char *name);
/* Leaves nothing in REQUEST that the server it was made for should alone see: no credentials, and of the headers only
 * those that say which bytes are wanted. */
void transfer_request_strip(struct transfer_request *request);
void transfer_wipe_free(char *secret); /* NULL is fine */
const char *transfer_method(const struct transfer_request *request);
void transfer_request_drop_body(struct transfer_request *request);

/* ---- urls (url.c) */

int transfer_http_check_url(const char *url); /* -EINVAL: neither http nor https, or no url; -ENOMEM */
bool transfer_same_origin(CURLU *a, CURLU *b); /* scheme, host and port */
void transfer_inherit_userinfo(CURLU *from, CURLU *to); /* FROM's into TO, when it has one and TO has not */

/* ---- redirects (redirect.c) */

/*
 * Is the answer whose HEAD (its status counts) and HEADERS came to be followed? 1: yes, to *RET_TARGET, which the caller frees, and what of
 * REQUEST is not for that server is gone from it; 0: it is the answer; -EPROTO: it leads nowhere, or -ELOOP: FOLLOWED were followed already
 * and that is enough, *RET_WHY tells (a string that is never freed); -ENOMEM.
 */
int transfer_redirect_plan(struct transfer_request *request, const struct transfer_head *head, const struct transfer_headers *headers,
                           unsigned followed, char **ret_target, const char **ret_why);
/* REQUEST is now for TARGET, which belongs to it, after an answer with STATUS. */
void transfer_redirect_apply(struct transfer_request *request, int status, char *target);

/* ---- a transfer */

enum transfer_place { TRANSFER_STARTING, TRANSFER_HTTP, TRANSFER_LOCAL, TRANSFER_DEAD, TRANSFER_PLACES };

/* One way of carrying transfers out. All is called on the loop's thread. */
struct transfer_driver {
    enum transfer_place place; /* where its transfers stand */
    int (*begin)(struct transfer *transfer);       /* it has just come there; an error ends it */
    void (*end)(struct transfer *transfer);        /* gives back what it holds; also one that did not begin */
    void (*step)(struct transfers *t);             /* goes on with all of them that can, ends those that are done */
    uint64_t (*due)(const struct transfers *t);    /* when step is next wanted (monotonic ns), but for what libcurl waits for; UINT64_MAX: not */
};

extern const struct transfer_driver transfer_http, transfer_local;

struct transfer {
    struct transfers *loop;
    const struct transfer_driver *driver;
    TAILQ_ENTRY(transfer) link; /* in the list of its place */
    enum transfer_place place;
    const struct transfer_ops *ops;
    void *context;
    struct transfer_request request; /* our copy; a redirect changes it */
    struct transfer_head head;
    struct transfer_headers headers;
    struct transfer_result result;
    bool head_done; /* the head is complete and was given to on_head, or starts a redirect that is followed */
    int error;      /* what a callback of ours ended it with; 0 */
    uint64_t due;   /* when max_rate lets it go on (monotonic ns) */

    /* HTTP */
    CURL *easy;                 /* NULL: not in libcurl's hands */
    bool paused;                /* until due, and while it is held */
    bool held;
    int socket_error;           /* errno of the last socket that could not be made; 0 */
    char curl_message[CURL_ERROR_SIZE]; /* where libcurl tells what went wrong */
    struct curl_slist *header_list;
    char *redirect;             /* where to go once this answer has ended; NULL */
    unsigned redirects;         /* followed so far */
    unsigned begun_again;       /* how often it was, after its stream was given up */
    uint64_t dropped;           /* bytes of body of an answer that only redirects */
    char *document;             /* TRANSFER_DOCUMENT_MAX bytes and a NUL: of a refusal, whose error is set already; NULL */
    size_t document_length;

    /* a local file */
    int fd;                     /* -1: not open yet */
    struct stat stat;           /* as it was when opened */
    uint64_t position, end;     /* next byte, and the one behind the last */
};

TAILQ_HEAD(transfer_list, transfer);

struct transfer_timer {
    TAILQ_ENTRY(transfer_timer) link;
    uint64_t due; /* monotonic ms */
    void (*fn)(void *context);
    void *context;
};

struct transfer_post {
    STAILQ_ENTRY(transfer_post) link;
    void (*fn)(void *context);
    void *context;
};

TAILQ_HEAD(transfer_timers, transfer_timer);
STAILQ_HEAD(transfer_posts, transfer_post);
LIST_HEAD(transfer_performers, transfers);

struct transfers {
    const struct config *config;
    pthread_t thread; /* whose loop it is, once it runs; protected by lock */
    bool running;     /* the same */
    CURLM *multi;
    CURLSH *share; /* of TLS sessions, among the handles of this loop */
    CURL *idle[TRANSFER_IDLE_HANDLES];
    unsigned idle_count;

    struct transfer_list at[TRANSFER_PLACES]; /* by place */
    struct transfer_timers timers; /* sorted by due */
    struct transfer *current;      /* whose callback is being made; for assertions */
    char *buffer;                  /* TRANSFER_BUFFER bytes, for one on_data at a time; NULL while not needed */
    struct transfer *gathering;    /* the HTTP transfer whose bytes are in the buffer; NULL: none are */
    size_t gathered;               /* how many */
    bool refused;                  /* some HTTP transfer has an error that libcurl does not know of yet */
    int last_error;                /* what the transfer that ended last ended with; for transfer_perform() */
    bool ending;                   /* stopped: transfers are not started any more */
    bool performer;                /* of one transfer_perform(), not of a thread: does not wait when it is empty */

    atomic_bool stop;
    pthread_mutex_t lock; /* a leaf */
    struct transfer_posts posts;           /* protected by lock */
    bool closed;                           /* protected by lock; posts are not taken any more */
    struct transfer_performers performing; /* protected by lock */
    struct transfer_performers idle_performers; /* protected by lock */
    unsigned idle_performer_count;         /* protected by lock */
    LIST_ENTRY(transfers) performer_link;  /* of a performer: protected by the lock of the loop it belongs to */
};

/* options.c */
/* Has EASY ask for the transfer's request. -ENOMEM; -EINVAL: libcurl refuses what cannot be done without, which the message tells. */
int transfer_http_configure(struct transfer *transfer, CURL *easy);
void transfer_http_set_rate(struct transfer *transfer);

/* error.c */
/* SOCKET_ERROR: errno of a socket that could not be made, which libcurl does not tell; 0. */
int transfer_error(CURL *easy, CURLcode code, int socket_error);
bool transfer_error_is_of_stream(CURLcode code); /* HTTP/2: of one stream, or of a connection that was told to end */

/* transfer.c */
void transfer_move(struct transfer *transfer, enum transfer_place place); /* to the end of the list there */
int transfer_give_head(struct transfer *transfer); /* calls on_head; its error is kept in the transfer, too */
int transfer_give_data(struct transfer *transfer, const void *data, size_t length);
void transfer_count_rate(struct transfer *transfer, size_t length); /* moves .due on for LENGTH bytes */
void transfer_release(struct transfer *transfer); /* gives everything back that one holds which is in no list, and frees it, without a callback */
/* Takes it out of its list, calls on_done with the callback's error if there was one, else with ERROR, and frees it. */
void transfer_finish(struct transfer *transfer, int error);
void transfer_message(struct transfer *transfer, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t transfers_clock_ns(void);
char *transfers_buffer(struct transfers *t); /* t->buffer; NULL: no memory */

/* handles.c */
int transfer_http_open(struct transfers *t); /* makes multi and share; -ENOMEM, -EIO */
void transfer_http_close(struct transfers *t);
CURL *transfer_handle_take(struct transfers *t); /* NULL: no memory */
void transfer_handle_give_back(struct transfers *t, CURL *easy); /* it is in no multi handle */

/* loop.c */
void transfers_round(struct transfers *t); /* does what there is to do, and waits when there is nothing */
bool transfers_empty(const struct transfers *t);
void transfers_end_all(struct transfers *t, int error);

#endif
