/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens by Keystone's v3 API. State: its answers. */
#include "config-auto.h"

#include "api/access/validation.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "api/access/flights.h"
#include "base/log.h"
#include "api/access/service.h"

enum { REFUSED_TTL = 10 }; /* seconds that a "no" is good for: who has just been given a role must not wait long */

struct validation {
    const struct config_api *config;
    struct service *keystone;
    struct endpoints *glance; /* NULL: nobody asks where it is */
    struct flights *flights;
    struct verdicts *known; /* with a struct validated each */
    struct verdicts *lasting; /* those that were good: for when Keystone is away; none without stale_if_error */
};

struct validation *validation_new(const struct config_api *config, struct endpoints *glance)
{
    struct validation *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return NULL;
    v->config = config;
    v->glance = glance;
    v->keystone = service_new("Keystone", config->auth_url, config->auth_ca_file);
    v->flights = flights_new();
    v->known = verdicts_new();
    v->lasting = verdicts_new();
    if (v->keystone == NULL || v->flights == NULL || v->known == NULL || v->lasting == NULL) {
        validation_free(v);
        return NULL;
    }
    return v;
}

void validation_free(struct validation *v)
{
    if (v == NULL)
        return;
    service_free(v->keystone);
    flights_free(v->flights);
    if (v->known != NULL)
        verdicts_free(v->known);
    if (v->lasting != NULL)
        verdicts_free(v->lasting);
    free(v);
}

bool validation_key(const char *token, const char *service, char ret[VERDICT_KEY])
{
    return verdict_key(token, service, ret);
}

void validation_forget(struct validation *v, const char *key)
{
    verdicts_drop(v->known, key);
    verdicts_drop(v->lasting, key);
}

/* ---- the answer */

static bool has_role(const json_t *token, char *const *roles, size_t count)
{
    size_t i;
    const json_t *role;
    json_array_foreach(json_object_get(token, "roles"), i, role) {
        const char *name = json_string_value(json_object_get(role, "name"));
        for (size_t k = 0; name != NULL && k < count; k++) {
            if (strcasecmp(name, roles[k]) == 0)
                return true;
        }
    }
    return false;
}

/* Seconds until the token ends, below zero when it has; false: it does not say. */
static bool lifetime(const json_t *token, int64_t *ret)
{
    const char *text = json_string_value(json_object_get(token, "expires_at"));
    struct tm tm = {0};
    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return false;
    *ret = (int64_t)timegm(&tm) - (int64_t)time(NULL);
    return true;
}

static void copy_text(const json_t *token, const char *object, const char *key, char *ret, size_t size)
{
    const char *text = json_string_value(json_object_get(json_object_get(token, object), key));
    snprintf(ret, size, "%s", text != NULL ? text : "");
}

static void describe(const struct validation *v, const json_t *token, struct validated *ret)
{
    *ret = (struct validated){.good = true, .admin = has_role(token, v->config->admin_roles, v->config->admin_role_count)};
    copy_text(token, "user", "name", ret->user, sizeof(ret->user));
    copy_text(token, "user", "id", ret->user_id, sizeof(ret->user_id));
    copy_text(token, "project", "name", ret->project, sizeof(ret->project));
    copy_text(token, "project", "id", ret->project_id, sizeof(ret->project_id));
}

/*
 * All that policies of Glance can look at: user, project, domain, system, roles, also of a service that acts for the user, and what the token is for
 * only. As one text, the sum of which is the scope. ACTING: the service's; NULL: none.
 */
static bool scope_of(const json_t *token, const json_t *acting, char ret[VERDICT_KEY])
{
    static const char *const parts[] = {"user", "project", "domain", "system", "is_domain", "is_admin_project", "OS-TRUST:trust", "OS-OAUTH1",
                                        "application_credential", "roles"};
    json_t *all = json_object();
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        json_object_set(all, parts[i], json_object_get(token, parts[i]));
    json_object_set(all, "service", json_object_get(acting, "user"));
    json_object_set(all, "service_roles", json_object_get(acting, "roles"));
    char *text = json_dumps(all, JSON_SORT_KEYS | JSON_COMPACT);
    bool good = text != NULL && verdict_key(text, "scope", ret);
    free(text);
    json_decref(all);
    return good;
}

/* ---- the question */

struct asking {
    struct validation *v;
    const char *token, *service, *key;
    bool hurried; /* what it was before is known */
};

/* The document about SUBJECT, as TOKEN may see it; NULL in RET when it is good no more. */
static int ask_keystone(const struct asking *asking, const char *token, const char *subject, bool expired_too, json_t **ret)
{
    struct validation *v = asking->v;
    const char *base = v->config->auth_url;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    bool v3 = length >= 3 && strncmp(base + length - 3, "/v3", 3) == 0;
    char path[64];
    snprintf(path, sizeof(path), "%s/auth/tokens%s", v3 ? "" : "/v3", expired_too ? "?allow_expired=1" : "");
    struct service_question q = {.path = path, .token = token, .subject = subject, .hurried = asking->hurried};
    struct service_answer a;
    int r = service_ask(v->keystone, &q, &a);
    if (r < 0)
        return r;
    if (a.status == 200) {
        json_t *document = json_loads(a.body, 0, NULL);
        *ret = json_incref(json_object_get(document, "token"));
        json_decref(document);
    } else if (a.status == 401 || a.status == 403 || a.status == 404) {
        *ret = NULL;
    } else {
        log_debug("Keystone at %s answers a validation with status %u", base, a.status);
        r = -EIO;
    }
    free(a.body);
    return r;
}

/* What the service's own token is; and how long it is good for asking about others'. */
static int service_is_good(const struct asking *q, json_t **ret_token, int64_t *ret_left)
{
    const struct config_api *config = q->v->config;
    int r = ask_keystone(q, q->service, q->service, false, ret_token);
    *ret_left = 0;
    if (r == 0 && (!lifetime(*ret_token, ret_left) || !has_role(*ret_token, config->service_token_roles, config->service_token_role_count)))
        *ret_left = 0;
    return r;
}

static void keep(const struct asking *q, const struct validated *found, int64_t left)
{
    int64_t now = clock_monotonic(), ttl = (int64_t)q->v->config->token_ttl, lasts = (int64_t)q->v->config->stale_if_error;
    int64_t good_for = !found->good ? REFUSED_TTL : left < ttl ? left : ttl;
    verdicts_put_with(q->v->known, q->key, found->good, found, sizeof(*found), now + good_for * NS_PER_S);
    if (!found->good)
        verdicts_drop(q->v->lasting, q->key);
    else if (lasts > 0)
        verdicts_put_with(q->v->lasting, q->key, 1, found, sizeof(*found), now + (left < lasts ? left : lasts) * NS_PER_S);
}

static int ask(void *context, void *answer, size_t size)
{
    const struct asking *q = context;
    struct validated found = {.good = false};
    int64_t left = 0, service_left = 0;
    json_t *token = NULL, *acting = NULL;
    int r = q->service != NULL ? service_is_good(q, &acting, &service_left) : 0;
    if (r == 0 && service_left > 0) { /* the user's may have ended; it is good as long as the service's is */
        r = ask_keystone(q, q->service, q->token, true, &token);
        left = token != NULL ? service_left : 0;
    }
    if (r == 0 && token == NULL) {
        r = ask_keystone(q, q->token, q->token, false, &token);
        left = lifetime(token, &left) ? left : 0;
    }
    if (r == 0 && token != NULL && left > 0) {
        describe(q->v, token, &found);
        found.good = scope_of(token, acting, found.scope);
        if (q->v->glance != NULL)
            endpoints_learn(q->v->glance, json_object_get(token, "catalog"), q->v->config->upstream_region, q->v->config->upstream_interface);
    }
    json_decref(token);
    json_decref(acting);
    if (r < 0)
        return r;
    keep(q, &found, left);
    memcpy(answer, &found, size);
    return 0;
}

int validation_ask(struct validation *v, const char *token, const char *service, const char *key, struct validated *ret)
{
    int good;
    struct validated before;
    struct asking q = {.v = v, .token = token, .service = service, .key = key};
    if (verdicts_get_with(v->known, key, &good, ret, sizeof(*ret)))
        return 0;
    q.hurried = verdicts_get_with(v->lasting, key, &good, &before, sizeof(before));
    int r = flights_ask(v->flights, key, ask, &q, ret, sizeof(*ret));
    if (r < 0 && q.hurried && r != -ENOMEM) {
        *ret = before;
        r = 0;
    }
    return r;
}
