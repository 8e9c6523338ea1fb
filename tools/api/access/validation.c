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
    struct flights *flights;
    struct verdicts *known; /* with a struct validated each */
};

struct validation *validation_new(const struct config_api *config)
{
    struct validation *v = calloc(1, sizeof(*v));
    if (v == NULL)
        return NULL;
    v->config = config;
    v->keystone = service_new("Keystone", config->auth_url, config->auth_ca_file);
    v->flights = flights_new();
    v->known = verdicts_new();
    if (v->keystone == NULL || v->flights == NULL || v->known == NULL) {
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
    free(v);
}

bool validation_key(const char *token, const char *service, char ret[VERDICT_KEY])
{
    return verdict_key(token, service, ret);
}

void validation_forget(struct validation *v, const char *key)
{
    verdicts_drop(v->known, key);
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

/* ---- the question */

/* The document about SUBJECT, as TOKEN may see it; NULL in RET when it is good no more. */
static int ask_keystone(struct validation *v, const char *token, const char *subject, bool expired_too, json_t **ret)
{
    const char *base = v->config->auth_url;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    bool v3 = length >= 3 && strncmp(base + length - 3, "/v3", 3) == 0;
    char path[64];
    snprintf(path, sizeof(path), "%s/auth/tokens%s", v3 ? "" : "/v3", expired_too ? "?allow_expired=1" : "");
    struct service_question q = {.path = path, .token = token, .subject = subject};
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

struct asking {
    struct validation *v;
    const char *token, *service, *key;
};

/* Is the service's own token good for asking about others', and how long? */
static int service_is_good(const struct asking *q, int64_t *ret_left)
{
    const struct config_api *config = q->v->config;
    json_t *token = NULL;
    int r = ask_keystone(q->v, q->service, q->service, false, &token);
    *ret_left = 0;
    if (r == 0 && (!lifetime(token, ret_left) || !has_role(token, config->service_token_roles, config->service_token_role_count)))
        *ret_left = 0;
    json_decref(token);
    return r;
}

static int ask(void *context, void *answer, size_t size)
{
    const struct asking *q = context;
    struct validated *found = answer;
    int64_t left = 0, ttl = (int64_t)q->v->config->token_ttl, service_left = 0;
    json_t *token = NULL;
    *found = (struct validated){.good = false};
    int r = q->service != NULL ? service_is_good(q, &service_left) : 0;
    if (r == 0 && service_left > 0) { /* the user's may have ended; it is good as long as the service's is */
        r = ask_keystone(q->v, q->service, q->token, true, &token);
        left = token != NULL ? service_left : 0;
    }
    if (r == 0 && token == NULL) {
        r = ask_keystone(q->v, q->token, q->token, false, &token);
        left = lifetime(token, &left) ? left : 0;
    }
    if (r < 0)
        return r;
    if (token != NULL && left > 0)
        describe(q->v, token, found);
    json_decref(token);
    int64_t good_for = !found->good ? REFUSED_TTL : left < ttl ? left : ttl;
    verdicts_put_with(q->v->known, q->key, found->good, found, size, clock_monotonic() + good_for * NS_PER_S);
    return 0;
}

int validation_ask(struct validation *v, const char *token, const char *service, const char *key, struct validated *ret)
{
    int good;
    struct asking q = {.v = v, .token = token, .service = service, .key = key};
    if (verdicts_get_with(v->known, key, &good, ret, sizeof(*ret)))
        return 0;
    return flights_ask(v->flights, key, ask, &q, ret, sizeof(*ret));
}
