/* SPDX-License-Identifier: Apache-2.0 */
/* What upstream.c and exchange.c share. */
#ifndef GCFS_API_RELAY_PRIVATE_H
#define GCFS_API_RELAY_PRIVATE_H

#include <curl/curl.h>
#include <pthread.h>

#include "api/relay/upstream.h"

enum { LANES_IDLE = 16 };

/* Handles that belong together: the first owns the connections of the second. */
struct lane {
    CURLM *multi;
    CURL *easy;
};

struct upstream {
    const struct config_api *config;
    struct endpoints *glance;
    pthread_mutex_t lock;
    struct lane idle[LANES_IDLE]; /* protected by lock, as all below */
    unsigned idle_count;
    bool down;
    int64_t failed; /* when it did not answer last, on the monotonic clock; 0: it did since */
};

/* One request and its answer: states and functions in exchange.c, what its answer tells in answer.c. Of one thread. */
struct exchange {
    struct upstream *up;
    struct lane lane;
    struct curl_slist *headers; /* of the request */
    char base[ENDPOINT_SIZE];   /* of the Glance that is asked */
    unsigned tried;             /* how many were */
    char *target;               /* of the request */
    const char *method, *uri;
    bool body, expects, hurried, started;
    int64_t patience;           /* ns without a byte */
    int left;                   /* readable when the client has left; -1: is not watched */

    const char *piece;          /* of the request's body, the caller's */
    size_t piece_length;
    bool wanted, ended;         /* Glance takes the body; there is no more of it */
    bool send_paused, receive_paused;

    unsigned status;
    char *head;                 /* names and values, each with its NUL */
    size_t head_length;
    bool head_done, done;
    char *buffer;               /* bytes from BEGIN to END are the next of the answer */
    size_t begin, end;

    uint64_t moved;             /* grows with each byte taken or given */
    int error;
    char why[CURL_ERROR_SIZE];
};

int lane_take(struct upstream *u, struct lane *ret); /* -ENOMEM */
/* GOOD: it may be used again; else its connection is cut. */
void lane_give(struct upstream *u, struct lane *lane, bool good);
/* Logs a change for the worse or the better; BASE: whose; WHY: NULL when Glance answers. */
void upstream_note(struct upstream *u, const char *base, const char *why);
/* The path in the url BASE, "" where there is none. */
const char *upstream_prefix(const char *base);
const char *upstream_rest(const char *base, const char *url); /* as exchange_rest() */

#endif
