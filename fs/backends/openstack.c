/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logging in at an OpenStack cloud, and the urls of one of its services. What changes after open() is the token, which has its
 * own lock, and what an answer to a login that is being read said so far: only one login is under way at a time (see the engine).
 */
#include "config-auto.h"

#include "backends/openstack.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/keystone.h"
#include "backends/setting.h"
#include "backends/token.h"
#include "base/secret.h"

enum login { LOGIN_NONE, LOGIN_KEYSTONE, LOGIN_TEMPAUTH };

struct openstack {
    const char *type, *strip, *interface, *region; /* region NULL: any */
    enum login login;
    struct keystone_login keystone;
    char *tempauth_url, *tempauth_key;
    const char *tempauth_user;
    char **urls; /* the configured endpoints; none: where the login says */
    unsigned url_count;
    char *name; /* of the endpoint that the login tells */
    struct token *token;
    /* the login under way: */
    char *value, *url; /* of the token; of the service, from TempAuth */
    uint64_t lifetime;
};

/* ---- open and close */

/* The service's root, as callers add to it. */
static void strip_end(const struct openstack *o, char *url)
{
    size_t length = strlen(url), end = o->strip ? strlen(o->strip) : 0;
    while (length > 0 && url[length - 1] == '/')
        url[--length] = '\0';
    if (end > 0 && length > end && strcmp(url + length - end, o->strip) == 0)
        url[length - end] = '\0';
}

static int read_endpoints(struct openstack *o, const struct config *config, char *message)
{
    o->urls = calloc(config->endpoint_count + 1, sizeof(*o->urls));
    if (!o->urls)
        return setting_no_memory(message);
    for (size_t i = 0; i < config->endpoint_count; i++) {
        int r = setting_url(config, "endpoint", config->endpoints[i], &o->urls[i], message);
        if (r < 0)
            return r;
        strip_end(o, o->urls[i]);
        o->url_count++;
    }
    return 0;
}

/* TempAuth's address ends in /auth/v1.0. */
static bool is_tempauth(const char *url)
{
    const char *end = strstr(url, "/v1.0");
    return end && end[strlen("/v1.0") + strspn(end + strlen("/v1.0"), "/")] == '\0';
}

static int read_tempauth(struct openstack *o, const struct config *config, const char *url, char *message)
{
    o->login = LOGIN_TEMPAUTH;
    int r = setting_url(config, "auth_url", url, &o->tempauth_url, message);
    if (r < 0)
        return r;
    o->tempauth_user = setting_text(config->username, "ST_USER", NULL);
    if (!o->tempauth_user)
        return setting_refuse(config, message, "username", "is needed to log in at auth_url, as in account:user");
    r = setting_secret(config, "password_file", config->password_file, "ST_KEY", &o->tempauth_key, message);
    return r < 0 || o->tempauth_key ? r : setting_refuse(config, message, "password_file", "is needed to log in at auth_url: "
                                                         "name a file that holds the key");
}

static int read_login(struct openstack *o, const struct config *config, char *message)
{
    const char *url = setting_text(config->auth_url, "OS_AUTH_URL", NULL);
    if (!url && o->url_count > 0) /* a service open to everyone */
        return 0;
    int r = token_new(&o->token);
    if (r < 0)
        return setting_no_memory(message);
    if (url && is_tempauth(url)) {
        r = read_tempauth(o, config, url, message);
    } else {
        o->login = LOGIN_KEYSTONE;
        r = keystone_login_open(config, &o->keystone, message);
    }
    if (r == 0 && asprintf(&o->name, "%s of %s", o->type, openstack_auth_name(o)) < 0) {
        o->name = NULL;
        r = setting_no_memory(message);
    }
    return r;
}

int openstack_open(const struct config *config, const char *type, const char *strip, struct openstack **ret,
                   char message[CONFIG_MESSAGE_MAX])
{
    struct openstack *o = calloc(1, sizeof(*o));
    if (!o)
        return setting_no_memory(message);
    o->type = type;
    o->strip = strip;
    o->interface = setting_text(config->interface, "OS_INTERFACE", "public");
    o->region = setting_text(config->region, "OS_REGION_NAME", NULL);
    int r = read_endpoints(o, config, message);
    if (r == 0)
        r = read_login(o, config, message);
    if (r < 0) {
        openstack_close(o);
        return r;
    }
    *ret = o;
    return 0;
}

static void forget_answer(struct openstack *o)
{
    secret_free(o->value);
    free(o->url);
    o->value = o->url = NULL;
    o->lifetime = 0;
}

void openstack_close(struct openstack *o)
{
    if (!o)
        return;
    forget_answer(o);
    keystone_login_clear(&o->keystone);
    free(o->tempauth_url);
    secret_free(o->tempauth_key);
    for (unsigned i = 0; o->urls && i < o->url_count; i++)
        free(o->urls[i]);
    free(o->urls);
    free(o->name);
    token_free(o->token);
    free(o);
}

/* ---- the service */

unsigned openstack_endpoints(const struct openstack *o)
{
    return o->url_count > 0 ? o->url_count : 1;
}

const char *openstack_endpoint_name(const struct openstack *o, unsigned endpoint)
{
    assert(endpoint < openstack_endpoints(o));
    return o->url_count > 0 ? o->urls[endpoint] : o->name;
}

int openstack_ask(struct openstack *o, unsigned endpoint, const char *path, struct transfer_request *request)
{
    assert(endpoint < openstack_endpoints(o));
    struct transfer_request q = { 0 };
    char *told = o->url_count > 0 ? NULL : token_url(o->token);
    const char *base = o->url_count > 0 ? o->urls[endpoint] : told;
    int r = base ? 0 : -EAGAIN;
    if (r == 0 && asprintf(&q.url, "%s%s", base, path) < 0) {
        q.url = NULL;
        r = -ENOMEM;
    }
    if (r == 0 && o->token)
        r = token_send(o->token, &q);
    free(told);
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

/* ---- logging in */

enum auth_need openstack_auth_needed(struct openstack *o)
{
    return o->token ? token_need(o->token) : AUTH_NONE;
}

const char *openstack_auth_name(const struct openstack *o)
{
    return o->login == LOGIN_TEMPAUTH ? o->tempauth_url : o->keystone.url;
}

static int ask_tempauth(const struct openstack *o, struct transfer_request *request)
{
    struct transfer_request q = { .url = strdup(o->tempauth_url) };
    int r = q.url ? transfer_request_header(&q, "X-Auth-User", o->tempauth_user) : -ENOMEM;
    if (r == 0)
        r = transfer_request_header(&q, "X-Auth-Key", o->tempauth_key);
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

int openstack_auth(struct openstack *o, struct transfer_request *request)
{
    forget_answer(o);
    return o->login == LOGIN_TEMPAUTH ? ask_tempauth(o, request) : keystone_ask(&o->keystone, request);
}

static int tempauth_head(struct openstack *o, const struct transfer_head *head, const char **ret_why)
{
    const char *value = transfer_head_get(head, "X-Auth-Token"), *url = transfer_head_get(head, "X-Storage-Url");
    const char *lifetime = transfer_head_get(head, "X-Auth-Token-Expires");
    if (!value || !url) {
        *ret_why = "its answer holds no token and storage url of Swift's v1 authentication";
        return -EPROTO;
    }
    o->value = strdup(value);
    o->url = strdup(url);
    o->lifetime = lifetime ? strtoull(lifetime, NULL, 10) : 0;
    return o->value && o->url ? 0 : -ENOMEM;
}

static int keystone_head(struct openstack *o, const struct transfer_head *head, const char **ret_why)
{
    const char *value = transfer_head_get(head, "X-Subject-Token");
    if (!value) {
        *ret_why = "its answer holds no token of Keystone v3";
        return -EPROTO;
    }
    o->value = strdup(value);
    return o->value ? 0 : -ENOMEM;
}

int openstack_auth_head(struct openstack *o, const struct transfer_head *head, const char **ret_why)
{
    forget_answer(o);
    int r = backend_status_error(head->status);
    if (r == -EACCES)
        *ret_why = o->keystone.application_credential
                       ? "it refuses the application credential: check its id and secret"
                       : "it refuses the credentials: check username, password, domain and project";
    if (r == -ENOENT || r == -EPROTO) { /* no image is missing: there is no such service */
        *ret_why = "it does not answer as an identity service: check auth_url";
        r = -EPROTO;
    }
    if (r < 0)
        return r;
    return o->login == LOGIN_TEMPAUTH ? tempauth_head(o, head, ret_why) : keystone_head(o, head, ret_why);
}

int openstack_authorised(struct openstack *o, const void *body, size_t length, const char **ret_why)
{
    int r = o->value ? 0 : -EPROTO;
    if (r == 0 && o->login == LOGIN_KEYSTONE) {
        const char *type = o->url_count > 0 ? NULL : o->type;
        r = keystone_answer(body, length, type, o->interface, o->region, &o->lifetime, &o->url, ret_why);
    }
    if (r == 0 && o->url)
        strip_end(o, o->url);
    if (r == 0)
        r = token_set(o->token, o->value, o->lifetime, o->url);
    forget_answer(o);
    return r;
}

unsigned openstack_credential(struct openstack *o)
{
    return o->token ? token_number(o->token) : 0;
}

bool openstack_refused(struct openstack *o, unsigned credential)
{
    return o->token && token_refused(o->token, credential);
}
