/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server: what all its rooms share, and the life of a request.
 *
 *   listener    accepts, time-outs; only here and in reply, download: libmicrohttpd
 *   request     URI, segments, headers
 *   guard       what keeps web pages out (pure)
 *   routes      which call a method and a path mean; who may
 *   auth                        who the caller is and what it may: validation (Keystone) and permission (Glance) with service, verdicts, flights
 *   download, manage, images, state, metrics, page, discovery    the calls
 *   relay       what is Glance's: streamed there and back
 *   mount       the only room that knows the mounted view
 *
 * One thread a connection, with a small stack: a call may block on the mount for as long as the backend takes, and nobody else waits.
 */
#ifndef GCFS_API_H
#define GCFS_API_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/peer.h"
#include "config/config.h"

struct audit;
struct auth;
struct connections;
struct documents;
struct endpoints;
struct history;
struct nodes;
struct relayed;
struct signing;
struct tees;
struct upstream;

/* Since the server's start; each its own, none protected by a lock. */
struct api_counters {
    atomic_ullong requests[6]; /* by the first digit of the status; [0]: ended without an answer */
    atomic_ullong bytes_sent;  /* of images */
    atomic_ullong aborted;     /* downloads that ended before their end */
    atomic_ullong refused;     /* by the guard */
};

struct api {
    const struct config *config;
    const char *mount;
    struct auth *auth;
    struct audit *audit;
    struct signing *signing;
    struct documents *documents;
    struct nodes *nodes;
    struct tees *tees;         /* uploads that are kept; NULL: none are */
    struct endpoints *glance;  /* where it is; NULL with upstream */
    struct upstream *upstream; /* whose calls are passed on; NULL: none are */
    struct connections *connections;
    struct history *history;
    struct api_counters counters;
};

enum { SEGMENTS_MAX = 8, URI_MAX = 4 * 1024, HEADERS_MAX = 8 * 1024, BODY_MAX = 64 * 1024 };

enum permission {
    MAY_ALL,      /* no token needed */
    MAY_READ,     /* images: downloads and what describes them */
    MAY_METRICS,
    MAY_WATCH,    /* the state of the cache, all images by their names: for who sees them all */
    MAY_MANAGE,
};

enum { IDENTITY_KEY = 65 }; /* VERDICT_KEY */

/* Who asks, as auth says. */
struct identity {
    bool admin;  /* may manage, and sees every image */
    bool reader; /* sees every image */
    const char *token, *service; /* to ask Glance or peers with, X-Service-Token or NULL; the request's */
    char key[IDENTITY_KEY];      /* keystone: of both */
    char scope[IDENTITY_KEY];    /* keystone: of what they may */
    char user[96], user_id[72], project[96], project_id[72]; /* "" where it is not known */
};

struct request {
    struct api *api;
    struct MHD_Connection *connection;
    const char *method;
    char *uri;                        /* as it came */
    char *path;                       /* its path, in pieces: the segments point into it */
    char *password;                   /* of Authorization: Basic, where that was asked for */
    char *query;                      /* behind the '?'; "" */
    const char *segments[SEGMENTS_MAX]; /* decoded */
    unsigned segment_count;
    const char *wrong;                /* with the URI; NULL: nothing, or it was not split yet */
    bool folder;                      /* the path ended with a '/' */
    const char *id;                   /* the segment that names an image, where the route has one */
    const char *action;               /* what is audited, as "download"; NULL: nothing */
    char request_id[48];              /* of OpenStack: the client's, or a new one */
    char client[PEER_TEXT];           /* its address */
    struct identity who;
    uint64_t body;                    /* bytes of it that came, and were dropped */
    bool refused;                     /* answered before its body came */
    char retry_after[32];             /* for the answer; "": its own, where it has one */
    bool kept, stale;                 /* the answer is not Glance's of now; and Glance does not answer */
    uint64_t age;                     /* seconds since it was, when it is kept */
    bool close;                       /* the connection is closed behind the answer */
    unsigned status;                  /* of the answer; 0: none yet */
    struct relayed *relayed;          /* it is passed on; NULL: it is not */
    uint64_t download;                /* bytes of an image in the answer */
    uint64_t acked_before;            /* what the connection had delivered before */
};

/* ---- request.c */

struct request *request_new(struct api *api, const char *uri);
void request_free(struct request *r);
/* Splits and decodes the URI, once. NULL; or what is wrong with it. */
const char *request_split(struct request *r);
const char *request_header(const struct request *r, const char *name); /* NULL: none */
/* The password of Authorization: Basic, to be freed; NULL: there is none. */
char *request_password(const struct request *r);
bool request_is(const struct request *r, const char *method);
bool request_wants_page(const struct request *r); /* a browser: it accepts text/html by name */
/* Fills request_id (the client's X-OpenStack-Request-ID, when it is one, or a new one) and client. */
void request_name(struct request *r);
/*
 * The header Via tells a request that has come back: this server is its own upstream, or one that it leads to. Text for the next server: what the
 * client said, and this server; and this one's own part, which is another one after each start.
 */
bool request_via(const struct request *r, char *ret, size_t size); /* false: it does not fit */
const char *request_own_via(void);
bool request_came_back(const struct request *r);
/* From the outside: "https://host:port", as a trusted proxy says it, or as the client asked. */
void request_base_url(const struct request *r, char *ret, size_t size);
/* For the next server: whom this request comes through, as X-Forwarded-For has it; what an untrusted client says of others is left out. */
void request_forwarded_for(const struct request *r, char *ret, size_t size);
/* Copies the decoded value of a query argument: 1; 0: there is none; -EINVAL: it is not rightly encoded, or does not fit in SIZE bytes. */
int request_argument(const struct request *r, const char *name, char *value, size_t size);

/* ---- reply.c: each queues the answer; MHD_NO: the connection is to be closed */

enum MHD_Result reply_json(struct request *r, unsigned status, json_t *document); /* takes DOCUMENT; NULL is out of memory */
/* The same with 200 and entity tag ETAG (""), or 304 where the request names that tag already. */
enum MHD_Result reply_json_tagged(struct request *r, json_t *document, const char *etag);
enum MHD_Result reply_text(struct request *r, unsigned status, const char *type, char *text, size_t length); /* takes TEXT */
enum MHD_Result reply_static(struct request *r, const char *type, const void *bytes, size_t length, const char *etag);
enum MHD_Result reply_empty(struct request *r, unsigned status);
/* {"error": {"code", "title", "message"}} in one line. */
enum MHD_Result reply_error(struct request *r, unsigned status, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What a negative errno of the mount means for the request; WHAT was attempted. */
enum MHD_Result reply_errno(struct request *r, int error, const char *what);
enum MHD_Result reply_not_allowed(struct request *r, const char *allow);
/* Adds what every answer has and queues it. Takes RESPONSE. */
enum MHD_Result reply_queue(struct request *r, unsigned status, struct MHD_Response *response);

/* ---- routes.c */

/* Splits the URI. Is the call one that is passed on, to Glance? */
bool routes_pass_on(struct request *r);
/* Answers a request whose headers and body are all here. */
enum MHD_Result routes_answer(struct request *r);

/* ---- the calls */

typedef enum MHD_Result call_fn(struct request *r);
call_fn download_image, download_signed, download_auth;
call_fn images_list, images_show, images_locations, images_schema;
call_fn cache_list, cache_queue, cache_delete, cache_clear, cache_show, cache_nodes, cache_clean, cache_prune, cache_pin, cache_unpin,
    cache_stop, cache_forget;
call_fn bootset_show, bootset_forget;
call_fn legacy_list_cached, legacy_list_queued, legacy_queue, legacy_delete_cached, legacy_delete_queued, legacy_clear_cached,
    legacy_clear_queued;
call_fn discovery_versions, discovery_root, page_file, status_show, metrics_show, healthcheck_show;

/* ---- text.c */

/* "2026-11-22T05:05:27Z" */
void text_time(double seconds, char ret[32]);
/* Decodes TEXT in place. False: a '%' without two hexadecimal digits, or a zero byte. */
bool text_decode(char *text);
/* ID percent-encoded for a path; RET holds 3 * IMAGE_ID_MAX + 1. */
void text_encode(const char *id, char *ret);

#endif
