/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of the backend: which one to ask next, and what is known of their health. An endpoint that failed is passed over for a
 * while (1 s, doubling to 30 s, or what its Retry-After says, up to PAUSE_MAX_S) as long as another is there; with a single one the image's own back-off
 * decides when it is asked again.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "engine/private.h"

enum { DENIED_PAUSE_S = 60, OTHERS_MAX = 8 };

static const char *endpoint_name(struct engine *e, unsigned endpoint)
{
    return endpoint == ENDPOINT_AUTH ? e->ops->auth_name(e->backend) : e->ops->endpoint_name(e->backend, endpoint);
}

static unsigned endpoint_count(struct engine *e)
{
    unsigned n = e->ops->endpoints(e->backend);
    return n < ENDPOINTS_MAX ? n : ENDPOINTS_MAX;
}

unsigned origin_choose(struct engine *e, unsigned *tried)
{
    unsigned n = endpoint_count(e), best = 0;
    int64_t now = clock_monotonic(), best_until = INT64_MAX;

    if (*tried + 1 == 1u << n) /* all of them: a new round */
        *tried = 0;
    pthread_mutex_lock(&e->lock);
    for (unsigned i = 0; i < n; i++) {
        int64_t until = e->endpoints[i].down_until > now ? e->endpoints[i].down_until : 0;
        if ((*tried & 1u << i) == 0 && until < best_until) {
            best = i;
            best_until = until;
        }
    }
    pthread_mutex_unlock(&e->lock);
    *tried |= 1u << best;
    return best;
}

unsigned origin_prefer(struct engine *e, unsigned endpoint, unsigned *tried)
{
    if (endpoint >= endpoint_count(e) || (*tried & 1u << endpoint) != 0)
        return origin_choose(e, tried);
    pthread_mutex_lock(&e->lock);
    bool down = e->endpoints[endpoint].down_until > clock_monotonic();
    pthread_mutex_unlock(&e->lock);
    if (down)
        return origin_choose(e, tried);
    *tried |= 1u << endpoint;
    return endpoint;
}

bool origin_all_down(struct engine *e)
{
    int64_t now = clock_monotonic();
    bool all = true;
    pthread_mutex_lock(&e->lock);
    for (unsigned i = 0; i < endpoint_count(e); i++)
        all = all && e->endpoints[i].down_until > now;
    pthread_mutex_unlock(&e->lock);
    return all;
}

void origin_waited(struct engine *e, int64_t waited)
{
    int64_t wait = atomic_load(&e->wait);
    ledger_measure(e->ledger, DURATION_FIRST_BYTE, waited);
    atomic_store(&e->wait, wait ? (wait * 3 + waited) / 4 : waited);
}

void origin_ok(struct engine *e, unsigned endpoint)
{
    pthread_mutex_lock(&e->lock);
    struct endpoint_health *h = &e->endpoints[endpoint];
    bool back = h->fails > 0;
    h->fails = 0;
    h->down_until = 0;
    h->last_ok = clock_now();
    pthread_mutex_unlock(&e->lock);
    if (back)
        transfers_post(e->transfers, e->on_well, e);
    if (back)
        log_notice("backend %s answers again", endpoint_name(e, endpoint));
}

static enum ledger_reason reason_of(int error)
{
    switch (error) {
    case -EHOSTUNREACH:
    case -ECONNREFUSED:
        return REASON_UNREACHABLE;
    case -ETIMEDOUT:
        return REASON_TIMEOUT;
    case -ECONNRESET:
        return REASON_BROKEN;
    case -EACCES:
    case -EKEYREJECTED:
        return REASON_REFUSED;
    case -EAGAIN:
        return REASON_SERVER;
    default:
        return REASON_NONSENSE;
    }
}

void origin_failed(struct engine *e, unsigned endpoint, int error, const char *what, unsigned retry_after)
{
    pthread_mutex_lock(&e->lock);
    struct endpoint_health *h = &e->endpoints[endpoint];
    bool first = h->fails++ == 0;
    int64_t asked = retry_after < PAUSE_MAX_S ? retry_after : PAUSE_MAX_S;
    int64_t pause = asked ? asked : h->fails > 5 ? 30 : INT64_C(1) << (h->fails - 1);
    h->down_until = clock_monotonic() + pause * NS_PER_S;
    h->last_error = clock_now();
    snprintf(h->error, sizeof(h->error), "%s", what);
    pthread_mutex_unlock(&e->lock);
    ledger_count_failure(e->ledger, reason_of(error));
    if (first)
        log_warning("backend %s: %s; trying again, what is cached goes on being served", endpoint_name(e, endpoint), what);
}

bool origin_otherwise(struct engine *e, unsigned endpoint, unsigned extras, const struct transfer_result *result, unsigned *others)
{
    char why[BACKEND_WHY_MAX] = "";
    if (e->ops->otherwise == NULL || result->status == 0)
        return false;
    bool again = e->ops->otherwise(e->backend, endpoint, extras, result, why);
    if (why[0] != '\0')
        log_notice("backend %s %s", endpoint_name(e, endpoint), why);
    return again && (*others)++ < OTHERS_MAX;
}

void origin_denied(struct engine *e, unsigned endpoint, const char *name, const char *what)
{
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&e->lock);
    struct endpoint_health *h = &e->endpoints[endpoint];
    bool tell = h->denied_at == 0 || now - h->denied_at > DENIED_PAUSE_S * NS_PER_S;
    if (tell)
        h->denied_at = now;
    pthread_mutex_unlock(&e->lock);
    ledger_count_failure(e->ledger, REASON_REFUSED);
    if (tell)
        log_warning("%s: backend %s: %s%s (not said again for a minute)", name, endpoint_name(e, endpoint), what,
                    strchr(what, ':') ? "" : ": check the credentials and what their user may read");
}

void origin_sends_whole(struct engine *e, unsigned endpoint, const char *name)
{
    pthread_mutex_lock(&e->lock);
    bool told = e->endpoints[endpoint].told_whole;
    e->endpoints[endpoint].told_whole = true;
    pthread_mutex_unlock(&e->lock);
    if (!told)
        log_notice("backend %s does not send parts of %s: it is fetched in one stream from the start, as are others like it",
                   endpoint_name(e, endpoint), name);
}

static json_t *refused_by(struct engine *e, unsigned endpoint)
{
    json_t *list = json_array();
    const char *name;
    unsigned n = 0;
    while (e->ops->refuses != NULL && endpoint != ENDPOINT_AUTH && (name = e->ops->refuses(e->backend, endpoint, &n)) != NULL)
        json_array_append_new(list, json_string(name));
    return list;
}

static void add_status(struct engine *e, unsigned i, json_t *list)
{
    pthread_mutex_lock(&e->lock);
    struct endpoint_health h = e->endpoints[i];
    pthread_mutex_unlock(&e->lock);
    const char *state = h.fails > 0 ? "failing" : h.last_ok ? "ok" : "not asked yet";
    json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:f, s:f, s:s, s:o}", "endpoint", endpoint_name(e, i), "state", state,
                                          "failures_in_a_row", (json_int_t)h.fails, "last_ok",
                                          (double)h.last_ok / (double)NS_PER_S, "last_error_at",
                                          (double)h.last_error / (double)NS_PER_S, "last_error", h.error, "refuses",
                                          refused_by(e, i)));
}

json_t *origin_status(struct engine *e)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < endpoint_count(e); i++)
        add_status(e, i, list);
    if (e->ops->auth_needed != NULL && e->ops->auth_name(e->backend) != NULL)
        add_status(e, ENDPOINT_AUTH, list);
    return list;
}
