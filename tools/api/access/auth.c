/* SPDX-License-Identifier: Apache-2.0 */
/* Who may, for the three kinds of auth. State: the tokens, read once, and the verdicts of Keystone and Glance. */
#include "config-auto.h"

#include "api/access/auth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "api/access/service.h"
#include "api/access/verdicts.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "image/id.h"

enum token_verdict { TOKEN_NO, TOKEN_USER, TOKEN_ADMIN };
enum image_verdict { IMAGE_NO, IMAGE_YES, IMAGE_INACTIVE };
enum { REFUSED_TTL = 10 }; /* seconds that a "no" is good for: who has just been given a role must not wait long */

struct auth {
    const struct config_api *config;
    char *admin_token, *reader_token;
    struct verdicts *tokens, *images;
};

static int read_token(const char *path, char **ret)
{
    int r = path == NULL ? 0 : secret_read(path, ret);
    if (r < 0)
        log_error("cannot read the token in %s: %s; the server does not start", path, secret_error(r));
    return r;
}

int auth_new(const struct config *config, struct auth **ret)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->config = &config->api;
    a->tokens = verdicts_new();
    a->images = verdicts_new();
    int r = a->tokens == NULL || a->images == NULL ? -ENOMEM : 0;
    if (r == 0 && config->api.auth == API_AUTH_TOKEN)
        r = read_token(config->api.admin_token_file, &a->admin_token);
    if (r == 0 && config->api.auth == API_AUTH_TOKEN)
        r = read_token(config->api.reader_token_file, &a->reader_token);
    if (r < 0) {
        auth_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

void auth_free(struct auth *a)
{
    if (a == NULL)
        return;
    secret_free(a->admin_token);
    secret_free(a->reader_token);
    verdicts_free(a->tokens);
    verdicts_free(a->images);
    free(a);
}

/* X-Auth-Token, or Authorization: Bearer. NULL: none. */
static const char *token_of(const struct request *r)
{
    const char *token = request_header(r, "X-Auth-Token");
    if (token == NULL) {
        const char *bearer = request_header(r, "Authorization");
        token = bearer != NULL && strncasecmp(bearer, "Bearer ", 7) == 0 ? bearer + 7 : NULL;
    }
    return token != NULL && token[0] != '\0' ? token : NULL;
}

/* ---- Keystone */

static bool has_role(const json_t *token, const struct config_api *config)
{
    size_t i;
    const json_t *role;
    json_array_foreach(json_object_get(token, "roles"), i, role) {
        const char *name = json_string_value(json_object_get(role, "name"));
        for (size_t k = 0; name != NULL && k < config->admin_role_count; k++) {
            if (strcasecmp(name, config->admin_roles[k]) == 0)
                return true;
        }
    }
    return false;
}

/* Seconds until the token ends; 0 when it has, or does not say. */
static int64_t lifetime(const json_t *token)
{
    const char *text = json_string_value(json_object_get(token, "expires_at"));
    struct tm tm = {0};
    if (text == NULL || strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) == NULL)
        return 0;
    int64_t left = (int64_t)timegm(&tm) - (int64_t)time(NULL);
    return left > 0 ? left : 0;
}

static int64_t from_now(int64_t seconds)
{
    return clock_monotonic() + seconds * NS_PER_S;
}

/* Asks Keystone. A token may ask about itself, so that this server needs no account of its own. */
static int ask_keystone(struct auth *a, const char *token, const char *key, enum token_verdict *ret)
{
    const char *base = a->config->auth_url;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    bool v3 = length >= 3 && strncmp(base + length - 3, "/v3", 3) == 0;
    unsigned status;
    char *body;
    int r = service_get(base, v3 ? "/auth/tokens" : "/v3/auth/tokens", a->config->auth_ca_file, token, token, &status, &body, &length);
    if (r < 0)
        return r;
    json_t *document = json_loads(body, 0, NULL);
    const json_t *of = json_object_get(document, "token");
    int64_t left = lifetime(of);
    if (status == 200 && left > 0) {
        *ret = has_role(of, a->config) ? TOKEN_ADMIN : TOKEN_USER;
        int64_t ttl = (int64_t)a->config->token_ttl;
        verdicts_put(a->tokens, key, *ret, from_now(left < ttl ? left : ttl));
    } else if (status == 401 || status == 403 || status == 404 || status == 200) {
        *ret = TOKEN_NO;
        verdicts_put(a->tokens, key, TOKEN_NO, from_now(REFUSED_TTL));
    } else {
        log_warning("Keystone at %s answers a validation with status %u; clients get 503", a->config->auth_url, status);
        r = -EIO;
    }
    json_decref(document);
    free(body);
    return r;
}

static int verdict_of_token(struct auth *a, const char *token, enum token_verdict *ret)
{
    char key[VERDICT_KEY];
    int known;
    if (!verdict_key(token, NULL, key))
        return -ENOMEM;
    if (verdicts_get(a->tokens, key, &known)) {
        *ret = (enum token_verdict)known;
        return 0;
    }
    return ask_keystone(a, token, key, ret);
}

/* ---- letting in */

static bool deny(unsigned *ret_status, unsigned status, char *message, size_t size, const char *text)
{
    *ret_status = status;
    snprintf(message, size, "%s", text);
    return false;
}

static int identify(struct request *r)
{
    struct auth *a = r->api->auth;
    const char *token = token_of(r);
    enum token_verdict verdict = TOKEN_NO;
    if (a->config->auth == API_AUTH_NONE) {
        r->who = (struct identity){.admin = true, .reader = true};
        return 0;
    }
    if (token == NULL)
        return -EACCES;
    if (a->config->auth == API_AUTH_TOKEN) {
        bool admin = secret_same(token, a->admin_token);
        bool reader = a->reader_token != NULL && secret_same(token, a->reader_token);
        r->who = (struct identity){.admin = admin, .reader = admin || reader};
        return admin || reader ? 0 : -EACCES;
    }
    int error = verdict_of_token(a, token, &verdict);
    if (error < 0)
        return error;
    r->who = (struct identity){.admin = verdict == TOKEN_ADMIN, .reader = verdict == TOKEN_ADMIN, .token = token};
    return verdict == TOKEN_NO ? -EACCES : 0;
}

bool auth_allows(struct request *r, enum permission may, unsigned *ret_status, char *message, size_t size)
{
    if (may == MAY_ALL || (may == MAY_METRICS && r->api->config->api.public_metrics))
        return true;
    int error = identify(r);
    if (error == -EACCES)
        return deny(ret_status, 401, message, size,
                    token_of(r) == NULL ? "this needs a token, as X-Auth-Token" : "this token is not, or no longer, good");
    if (error < 0)
        return deny(ret_status, 503, message, size, "the identity service does not answer");
    if (may == MAY_MANAGE && !r->who.admin)
        return deny(ret_status, 403, message, size, "this token may not manage the cache");
    if (may == MAY_WATCH && !r->who.reader)
        return deny(ret_status, 403, message, size, "this token may not see the state of the cache");
    return true;
}

/* ---- images */

/* The image service's base: image_url with or without the /v2 at its end. */
static void image_path(const struct config_api *config, char *path, size_t size, const char *rest)
{
    const char *base = config->image_url;
    size_t length = strlen(base);
    while (length > 0 && base[length - 1] == '/')
        length--;
    bool v2 = length >= 3 && strncmp(base + length - 3, "/v2", 3) == 0;
    snprintf(path, size, "%s%s", v2 ? "" : "/v2", rest);
}

int auth_relay(struct request *r, const char *rest, unsigned *ret_status, char **ret_body, size_t *ret_length)
{
    const struct config_api *config = r->api->auth->config;
    char path[URI_MAX + 64];
    image_path(config, path, sizeof(path), rest);
    return service_get(config->image_url, path, config->auth_ca_file, r->who.token, NULL, ret_status, ret_body, ret_length);
}

static int ask_glance(struct request *r, const char *id, const char *key, enum image_verdict *ret)
{
    struct auth *a = r->api->auth;
    char encoded[3 * IMAGE_ID_MAX + 1], rest[sizeof(encoded) + 16];
    unsigned status;
    char *body;
    size_t length;
    text_encode(id, encoded);
    snprintf(rest, sizeof(rest), "/images/%s", encoded);
    int error = auth_relay(r, rest, &status, &body, &length);
    if (error < 0)
        return error;
    json_t *document = status == 200 ? json_loads(body, 0, NULL) : NULL;
    free(body);
    const char *state = json_string_value(json_object_get(document, "status"));
    const char *named = json_string_value(json_object_get(document, "id"));
    if (status == 200 && state != NULL && named != NULL && strcmp(named, id) == 0)
        *ret = strcmp(state, "active") == 0 ? IMAGE_YES : IMAGE_INACTIVE;
    else if (status == 401 || status == 403 || status == 404)
        *ret = IMAGE_NO;
    else
        error = -EIO;
    json_decref(document);
    if (error < 0)
        log_warning("Glance at %s answers with status %u about image %s; the client gets 503", a->config->image_url, status, id);
    else
        verdicts_put(a->images, key, *ret, from_now(*ret == IMAGE_YES ? (int64_t)a->config->auth_ttl : REFUSED_TTL));
    return error;
}

bool auth_sees(struct request *r, const char *id, unsigned *ret_status, char *message, size_t size)
{
    char key[VERDICT_KEY];
    int known = 0;
    enum image_verdict verdict = IMAGE_NO;
    if (r->api->config->api.auth != API_AUTH_KEYSTONE)
        return true;
    if (!image_id_valid(id))
        known = -ENOENT;
    else if (!verdict_key(r->who.token, id, key))
        known = -ENOMEM;
    else if (verdicts_get(r->api->auth->images, key, &known)) {
        verdict = (enum image_verdict)known;
        known = 0;
    } else
        known = ask_glance(r, id, key, &verdict);
    if (known < 0 && known != -ENOENT)
        return deny(ret_status, 503, message, size, "the image service does not answer");
    if (known == 0 && verdict == IMAGE_YES)
        return true;
    if (known == 0 && verdict == IMAGE_INACTIVE && !r->who.admin)
        return deny(ret_status, 403, message, size, "the image is not active");
    if (known == 0 && verdict == IMAGE_INACTIVE)
        return true;
    *ret_status = 404;
    snprintf(message, size, "Image %.200s not found.", id);
    return false;
}
