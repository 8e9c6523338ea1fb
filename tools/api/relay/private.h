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
    char *base;         /* without /v2 and slashes at its end */
    const char *prefix; /* the path in it, "" where there is none; points into base */
    pthread_mutex_t lock;
    struct lane idle[LANES_IDLE]; /* protected by lock, as all below */
    unsigned idle_count;
    bool down;
    int64_t failed; /* when it did not answer last, on the monotonic clock; 0: it did since */
};

int lane_take(struct upstream *u, struct lane *ret); /* -ENOMEM */
/* GOOD: it may be used again; else its connection is cut. */
void lane_give(struct upstream *u, struct lane *lane, bool good);
/* Logs a change for the worse or the better; WHY: NULL when Glance answers. */
void upstream_note(struct upstream *u, const char *why);

#endif
