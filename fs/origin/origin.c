/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The endpoints of the backend: which one to ask next, and what is known of their health. An endpoint that failed is passed over for a
 * while (1 s, doubling to 30 s, or what its Retry-After says, up to PAUSE_MAX_S) as long as another is there; with a single one the image's own back-off
 * decides when it is asked again.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "origin/private.h"

enum { DENIED_PAUSE_S = 60, OTHERS_MAX = 8 };

int origin_new(const struct origin_parts *parts, struct origin **ret)
{
    struct origin *o = calloc(1, sizeof(*o));
    if (o == NULL)
        return -ENOMEM;
    o->ops = parts->ops;
    o->backend = parts->backend;
    o->transfers = parts->transfers;
    o->ledger = parts->ledger;
    o->on_well = parts->on_well;
    o->on_room = parts->on_room;
    o->context = parts->context;
    pthread_mutex_init(&o->lock, NULL);
    TAILQ_INIT(&o->login.waiters);
    *ret = o;
    return 0;
}

void origin_free(struct origin *o)
{
    if (o == NULL)
        return;
    free(o->login.body);
    pthread_mutex_destroy(&o->lock);
    free(o);
}

static const char *endpoint_name(struct origin *o, unsigned endpoint)
{
    return endpoint == ENDPOINT_AUTH ? o->ops->auth_name(o->backend) : o->ops->endpoint_name(o->backend, endpoint);
}

static unsigned endpoint_count(struct origin *o)
{
    unsigned n = o->ops->endpoints(o->backend);
    return n < ENDPOINTS_MAX ? n : ENDPOINTS_MAX;
}

unsigned origin_choose(struct origin *o, unsigned *tried)
{
    unsigned n = endpoint_count(o), best = 0;
    int64_t now = clock_monotonic(), best_until = INT64_MAX;

    if (*tried + 1 == 1u << n) /* all of them: a new round */
        *tried = 0;
    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < n; i++) {
        int64_t until = o->endpoints[i].down_until > now ? o->endpoints[i].down_until : 0;
        if ((*tried & 1u << i) == 0 && until < best_until) {
            best = i;
            best_until = until;
        }
    }
    pthread_mutex_unlock(&o->lock);
    *tried |= 1u << best;
    return best;
}

unsigned origin_prefer(struct origin *o, unsigned endpoint, unsigned *tried)
{
    if (endpoint >= endpoint_count(o) || (*tried & 1u << endpoint) != 0)
        return origin_choose(o, tried);
    pthread_mutex_lock(&o->lock);
    bool down = o->endpoints[endpoint].down_until > clock_monotonic();
    pthread_mutex_unlock(&o->lock);
    if (down)
        return origin_choose(o, tried);
    *tried |= 1u << endpoint;
    return endpoint;
}

unsigned origin_all(struct origin *o)
{
    return (1u << endpoint_count(o)) - 1;
}

bool origin_all_down(struct origin *o)
{
    int64_t now = clock_monotonic();
    bool all = true;
    pthread_mutex_lock(&o->lock);
    for (unsigned i = 0; i < endpoint_count(o); i++)
        all = all && o->endpoints[i].down_until > now;
    pthread_mutex_unlock(&o->lock);
    return all;
}

int64_t origin_wait(const struct origin *o)
{
    return atomic_load(&o->wait);
}

void origin_waited(struct origin *o, int64_t waited)
{
    int64_t wait = atomic_load(&o->wait);
    ledger_measure(o->ledger, DURATION_FIRST_BYTE, waited);
    atomic_store(&o->wait, wait ? (wait * 3 + waited) / 4 : waited);
}

void origin_ok(struct origin *o, unsigned endpoint)
{
    pthread_mutex_lock(&o->lock);
    struct endpoint_health *h = &o->endpoints[endpoint];
    bool back = h->fails > 0;
    h->fails = 0;
    h->down_until = 0;
    h->last_ok = clock_now();
    pthread_mutex_unlock(&o->lock);
    if (back)
        transfers_tell(o->transfers, o->on_well, o->context);
    if (back)
        log_notice("backend %s answers again", endpoint_name(o, endpoint));
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

void origin_failed(struct origin *o, unsigned endpoint, int error, const char *what, unsigned retry_after)
{
    pthread_mutex_lock(&o->lock);
    struct endpoint_health *h = &o->endpoints[endpoint];
    bool first = h->fails++ == 0;
    int64_t asked = retry_after < PAUSE_MAX_S ? retry_after : PAUSE_MAX_S;
    int64_t pause = asked ? asked : h->fails > 5 ? 30 : INT64_C(1) << (h->fails - 1);
    h->down_until = clock_monotonic() + pause * NS_PER_S;
    h->last_error = clock_now();
    snprintf(h->error, sizeof(h->error), "%s", what);
    pthread_mutex_unlock(&o->lock);
    ledger_count_failure(o->ledger, reason_of(error));
    if (first)
        log_warning("backend %s: %s; trying again, what is cached goes on being served", endpoint_name(o, endpoint), what);
}

bool origin_otherwise(struct origin *o, unsigned endpoint, unsigned extras, const struct transfer_result *result, unsigned *others)
{
    char why[BACKEND_WHY_MAX] = "";
    if (o->ops->otherwise == NULL || result->status == 0)
        return false;
    bool again = o->ops->otherwise(o->backend, endpoint, extras, result, why);
    if (why[0] != '\0')
        log_notice("backend %s %s", endpoint_name(o, endpoint), why);
    return again && (*others)++ < OTHERS_MAX;
}

void origin_denied(struct origin *o, unsigned endpoint, const char *name, const char *what)
{
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&o->lock);
    struct endpoint_health *h = &o->endpoints[endpoint];
    bool tell = h->denied_at == 0 || now - h->denied_at > DENIED_PAUSE_S * NS_PER_S;
    if (tell)
        h->denied_at = now;
    pthread_mutex_unlock(&o->lock);
    ledger_count_failure(o->ledger, REASON_REFUSED);
    if (tell)
        log_warning("%s: backend %s: %s%s (not said again for a minute)", name, endpoint_name(o, endpoint), what,
                    strchr(what, ':') ? "" : ": check the credentials and what their user may read");
}

void origin_sends_whole(struct origin *o, unsigned endpoint, const char *name)
{
    pthread_mutex_lock(&o->lock);
    bool told = o->endpoints[endpoint].told_whole;
    o->endpoints[endpoint].told_whole = true;
    pthread_mutex_unlock(&o->lock);
    if (!told)
        log_notice("backend %s does not send parts of %s: it is fetched in one stream from the start, as are others like it",
                   endpoint_name(o, endpoint), name);
}

static json_t *refused_by(struct origin *o, unsigned endpoint)
{
    json_t *list = json_array();
    const char *name;
    unsigned n = 0;
    while (o->ops->refuses != NULL && endpoint != ENDPOINT_AUTH && (name = o->ops->refuses(o->backend, endpoint, &n)) != NULL)
        json_array_append_new(list, json_string(name));
    unsigned most = endpoint == 0 ? atomic_load(&o->most) : 0;
    if (most > 0)
        json_array_append_new(list, json_sprintf("more than %u requests at once", most));
    return list;
}

static void add_status(struct origin *o, unsigned i, json_t *list)
{
    pthread_mutex_lock(&o->lock);
    struct endpoint_health h = o->endpoints[i];
    pthread_mutex_unlock(&o->lock);
    const char *state = h.fails > 0 ? "failing" : h.last_ok ? "ok" : "not asked yet";
    json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:f, s:f, s:f, s:s, s:o}", "endpoint", endpoint_name(o, i), "state", state,
                                          "failures_in_a_row", (json_int_t)h.fails, "last_ok_at",
                                          (double)h.last_ok / (double)NS_PER_S, "last_ok", (double)h.last_ok / (double)NS_PER_S, "last_error_at",
                                          (double)h.last_error / (double)NS_PER_S, "last_error", h.error, "refuses",
                                          refused_by(o, i)));
}

json_t *origin_status(struct origin *o)
{
    json_t *list = json_array();
    for (unsigned i = 0; i < endpoint_count(o); i++)
        add_status(o, i, list);
    if (o->ops->auth_needed != NULL && o->ops->auth_name(o->backend) != NULL)
        add_status(o, ENDPOINT_AUTH, list);
    return list;
}
