/* SPDX-License-Identifier: Apache-2.0 */
/* Who may, for the three kinds of auth. State: the tokens; what Keystone and Glance said, in validation and permission. */
#include "config-auto.h"

#include "api/access/auth.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/access/permission.h"
#include "api/access/service.h"
#include "api/access/validation.h"
#include "api/access/verdicts.h"
#include "base/log.h"
#include "base/secret.h"
#include "image/id.h"

_Static_assert((int)IDENTITY_KEY == (int)VERDICT_KEY, "a key is one of verdicts");

struct auth {
    const struct config_api *config;
    pthread_rwlock_t lock;
    char *admin_token, *reader_token; /* protected by lock */
    struct validation *validation; /* keystone, as the next */
    struct permission_of *permission;
};

/* THEN: what follows when it cannot be read, for the log. */
static int read_token(const char *path, const char *then, char **ret)
{
    int r = path == NULL ? 0 : secret_read(path, ret);
    if (r < 0)
        log_error("cannot read the token in %s: %s; %s", path, secret_error(r), then);
    return r;
}

static int read_tokens(const struct config_api *config, const char *then, char **ret_admin, char **ret_reader)
{
    *ret_admin = *ret_reader = NULL;
    if (config->auth != API_AUTH_TOKEN)
        return 0;
    int r = read_token(config->admin_token_file, then, ret_admin);
    if (r == 0)
        r = read_token(config->reader_token_file, then, ret_reader);
    if (r < 0) {
        secret_free(*ret_admin);
        *ret_admin = NULL;
    }
    return r;
}

int auth_new(const struct config *config, struct endpoints *upstream, struct auth **ret)
{
    struct auth *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->config = &config->api;
    pthread_rwlock_init(&a->lock, NULL);
    int r = 0;
    if (config->api.auth == API_AUTH_KEYSTONE) {
        a->validation = validation_new(&config->api, upstream);
        a->permission = permission_new(&config->api, upstream);
        r = a->validation == NULL || a->permission == NULL ? -ENOMEM : 0;
    }
    if (r == 0)
        r = read_tokens(&config->api, "the server does not start", &a->admin_token, &a->reader_token);
    if (r < 0) {
        auth_free(a);
        return r;
    }
    *ret = a;
    return 0;
}

int auth_reload(struct auth *a)
{
    char *admin, *reader;
    int r = read_tokens(a->config, "the tokens of before stay", &admin, &reader);
    if (r < 0)
        return r;
    pthread_rwlock_wrlock(&a->lock);
    char *old_admin = a->admin_token, *old_reader = a->reader_token;
    a->admin_token = admin;
    a->reader_token = reader;
    pthread_rwlock_unlock(&a->lock);
    secret_free(old_admin);
    secret_free(old_reader);
    return 0;
}

void auth_free(struct auth *a)
{
    if (a == NULL)
        return;
    secret_free(a->admin_token);
    secret_free(a->reader_token);
    validation_free(a->validation);
    permission_free(a->permission);
    pthread_rwlock_destroy(&a->lock);
    free(a);
}

/* X-Auth-Token, or Authorization: Bearer, or the password of Authorization: Basic, whoever the user. NULL: none. */
static const char *token_of(struct request *r)
{
    const char *token = request_header(r, "X-Auth-Token");
    if (token == NULL) {
        const char *given = request_header(r, "Authorization");
        if (given != NULL && strncasecmp(given, "Bearer ", 7) == 0)
            token = given + 7;
        else if (given != NULL && strncasecmp(given, "Basic ", 6) == 0)
            token = r->password != NULL ? r->password : (r->password = request_password(r));
    }
    return token != NULL && token[0] != '\0' ? token : NULL;
}

/* ---- letting in */

static bool deny(unsigned *ret_status, unsigned status, char *message, size_t size, const char *text)
{
    *ret_status = status;
    snprintf(message, size, "%s", text);
    return false;
}

static int identify_by_keystone(struct request *r, const char *token)
{
    struct validation *v = r->api->auth->validation;
    const char *service = request_header(r, "X-Service-Token");
    struct validated found;
    if (service != NULL && service[0] == '\0')
        service = NULL;
    if (!service_token_valid(token) || (service != NULL && !service_token_valid(service)))
        return -EACCES; /* no token of Keystone's looks like that */
    r->who = (struct identity){.token = token, .service = service};
    if (!validation_key(token, service, r->who.key))
        return -ENOMEM;
    int error = validation_ask(v, token, service, r->who.key, &found);
    if (error < 0)
        return error;
    r->who.admin = r->who.reader = found.admin;
    strcpy(r->who.scope, found.scope);
    strcpy(r->who.user, found.user);
    strcpy(r->who.user_id, found.user_id);
    strcpy(r->who.project, found.project);
    strcpy(r->who.project_id, found.project_id);
    return found.good ? 0 : -EACCES;
}

static int identify(struct request *r)
{
    struct auth *a = r->api->auth;
    const char *token = token_of(r);
    if (a->config->auth == API_AUTH_NONE) {
        r->who = (struct identity){.admin = true, .reader = true};
        return 0;
    }
    if (token == NULL)
        return -EACCES;
    if (a->config->auth == API_AUTH_KEYSTONE)
        return identify_by_keystone(r, token);
    pthread_rwlock_rdlock(&a->lock);
    bool admin = secret_same(token, a->admin_token);
    bool reader = a->reader_token != NULL && secret_same(token, a->reader_token);
    pthread_rwlock_unlock(&a->lock);
    r->who = (struct identity){.admin = admin, .reader = admin || reader, .token = token};
    if (admin || reader) /* a token is all that is known of its bearer */
        strcpy(r->who.user, admin ? "admin token" : "reader token");
    return admin || reader ? 0 : -EACCES;
}

bool auth_identify(struct request *r)
{
    return r->api->config->api.auth == API_AUTH_KEYSTONE && identify(r) == 0;
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

static struct caller caller_of(const struct request *r)
{
    return (struct caller){.token = r->who.token, .service = r->who.service, .key = r->who.key, .scope = r->who.scope,
                           .request_id = r->request_id};
}

int auth_relay(struct request *r, const char *rest, bool hurried, struct service_answer *ret)
{
    struct caller caller = caller_of(r);
    return permission_relay(r->api->auth->permission, &caller, rest, hurried, ret);
}

void auth_forget_image(struct auth *a, const char *id)
{
    if (a->permission != NULL)
        permission_forget(a->permission, id);
}

bool auth_downloads(struct request *r, const char *id, unsigned *ret_status, char *message, size_t size)
{
    struct auth *a = r->api->auth;
    struct caller caller = caller_of(r);
    unsigned found = 404;
    if (r->api->config->api.auth != API_AUTH_KEYSTONE)
        return true;
    int error = image_id_valid(id) ? permission_ask(a->permission, &caller, id, &found, &r->stale) : 0;
    if (error < 0)
        return deny(ret_status, 503, message, size, "the image service does not answer");
    if (found == 200)
        return true;
    if (found == 204)
        return deny(ret_status, 204, message, size, "the image has no data");
    if (found == 403)
        return deny(ret_status, 403, message, size, "the image service does not let this token download the image");
    if (found == 401) {
        validation_forget(a->validation, r->who.key);
        return deny(ret_status, 401, message, size, "this token is not, or no longer, good");
    }
    *ret_status = 404;
    snprintf(message, size, "Image %.200s not found.", id);
    return false;
}
