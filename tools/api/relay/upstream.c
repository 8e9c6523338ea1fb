/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lanes: a multi handle with its connections and an easy handle, one for each exchange under way; those that ended well are kept for the
 * next. What an exchange does stands in exchange.c.
 */
#include "config-auto.h"

#include "api/relay/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"

struct upstream *upstream_new(const struct config_api *config, struct endpoints *glance)
{
    struct upstream *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return NULL;
    pthread_mutex_init(&u->lock, NULL);
    u->config = config;
    u->glance = glance;
    return u;
}

const char *upstream_prefix(const char *base)
{
    const char *path = strchr(strstr(base, "://") + 3, '/');
    return path != NULL ? path : "";
}

static void close_lane(struct lane *lane)
{
    if (lane->easy != NULL)
        curl_easy_cleanup(lane->easy);
    if (lane->multi != NULL)
        curl_multi_cleanup(lane->multi);
    *lane = (struct lane){NULL, NULL};
}

void upstream_free(struct upstream *u)
{
    if (u == NULL)
        return;
    for (unsigned i = 0; i < u->idle_count; i++)
        close_lane(&u->idle[i]);
    pthread_mutex_destroy(&u->lock);
    free(u);
}

int lane_take(struct upstream *u, struct lane *ret)
{
    struct lane lane = {NULL, NULL};
    pthread_mutex_lock(&u->lock);
    if (u->idle_count > 0)
        lane = u->idle[--u->idle_count];
    pthread_mutex_unlock(&u->lock);
    if (lane.multi == NULL)
        lane = (struct lane){.multi = curl_multi_init(), .easy = curl_easy_init()};
    if (lane.multi == NULL || lane.easy == NULL) {
        close_lane(&lane);
        return -ENOMEM;
    }
    *ret = lane;
    return 0;
}

void lane_give(struct upstream *u, struct lane *lane, bool good)
{
    curl_multi_remove_handle(lane->multi, lane->easy);
    if (good)
        curl_easy_reset(lane->easy);
    pthread_mutex_lock(&u->lock);
    bool kept = good && u->idle_count < LANES_IDLE;
    if (kept)
        u->idle[u->idle_count++] = *lane;
    pthread_mutex_unlock(&u->lock);
    if (!kept)
        close_lane(lane);
}

void upstream_note(struct upstream *u, const char *base, const char *why)
{
    pthread_mutex_lock(&u->lock);
    bool changed = u->down != (why != NULL);
    u->down = why != NULL;
    u->failed = why != NULL ? clock_monotonic() : 0;
    pthread_mutex_unlock(&u->lock);
    if (changed && why != NULL)
        log_warning("Glance at %s does not answer: %s; clients whose calls are passed on to it get 503 until it does", base, why);
    else if (changed)
        log_notice("Glance at %s answers again", base);
}

bool upstream_is_away(struct upstream *u)
{
    pthread_mutex_lock(&u->lock);
    bool away = u->failed != 0 && clock_monotonic() - u->failed < UPSTREAM_PAUSE_SECONDS * NS_PER_S;
    pthread_mutex_unlock(&u->lock);
    return away;
}

/* ---- whose a URL is */

struct place {
    char *host, *port;
    bool usual; /* the port is the scheme's own */
};

static void place_free(struct place *p)
{
    curl_free(p->host);
    curl_free(p->port);
}

static bool place_of(const char *url, struct place *ret)
{
    char *own = NULL;
    CURLU *parsed = curl_url();
    bool good = parsed != NULL && curl_url_set(parsed, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_HOST, &ret->host, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_PORT, &ret->port, CURLU_DEFAULT_PORT) == CURLUE_OK;
    ret->usual = good && curl_url_get(parsed, CURLUPART_PORT, &own, CURLU_NO_DEFAULT_PORT) != CURLUE_OK;
    curl_free(own);
    curl_url_cleanup(parsed);
    return good;
}

const char *upstream_rest(const char *base, const char *url)
{
    struct place theirs = {0}, ours = {0};
    const char *behind = strstr(url, "://"), *path = behind != NULL ? strchr(behind + 3, '/') : NULL;
    size_t prefix = strlen(upstream_prefix(base));
    /* A proxy before Glance may speak https for it: then Glance's own URLs begin with http, and neither names a port. */
    bool same = path != NULL && place_of(url, &theirs) && place_of(base, &ours) && strcasecmp(theirs.host, ours.host) == 0 &&
                (strcmp(theirs.port, ours.port) == 0 || (theirs.usual && ours.usual));
    place_free(&theirs);
    place_free(&ours);
    if (!same || strncmp(path, upstream_prefix(base), prefix) != 0 || path[prefix] != '/')
        return NULL;
    return path + prefix;
}
