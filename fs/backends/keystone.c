/* SPDX-License-Identifier: Apache-2.0 */
/* Keystone's documents (Identity API v3, section Authentication). No state, no lock. */
#include "config-auto.h"

#include "backends/keystone.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backends/setting.h"
#include "base/json_text.h"
#include "base/secret.h"

/* ---- who we are */

/* An id or a name, of the options before those of the environment. */
static void choose(const char *id, const char *name, const char *id_variable, const char *name_variable,
                   const char **ret, const char **ret_key)
{
    const struct { const char *text, *key; } choices[] = {
        { id, "id" }, { name, "name" }, { getenv(id_variable), "id" }, { getenv(name_variable), "name" },
    };
    for (size_t i = 0; i < sizeof(choices) / sizeof(choices[0]); i++) {
        if (choices[i].text && *choices[i].text) {
            *ret = choices[i].text;
            *ret_key = choices[i].key;
            return;
        }
    }
}

static int read_user(const struct config *config, struct keystone_login *login, char *message)
{
    login->user = setting_text(config->username, "OS_USERNAME", NULL);
    login->user_domain = login->project_domain = "default";
    login->user_domain_key = login->project_domain_key = "id";
    choose(config->user_domain_id, config->user_domain_name, "OS_USER_DOMAIN_ID", "OS_USER_DOMAIN_NAME",
           &login->user_domain, &login->user_domain_key);
    choose(config->project_domain_id, config->project_domain_name, "OS_PROJECT_DOMAIN_ID", "OS_PROJECT_DOMAIN_NAME",
           &login->project_domain, &login->project_domain_key);
    choose(config->project_id, config->project_name, "OS_PROJECT_ID", "OS_PROJECT_NAME", &login->project,
           &login->project_key);
    if (!login->user)
        return setting_refuse(config, message, "username", "is needed to log in at auth_url (or OS_USERNAME in the "
                              "environment, or application_credential_id)");
    if (!login->project)
        return setting_refuse(config, message, "project_name", "is needed to log in at auth_url (or OS_PROJECT_NAME in "
                              "the environment)");
    int r = setting_secret(config, "password_file", config->password_file, "OS_PASSWORD", &login->secret, message);
    return r < 0 || login->secret ? r : setting_refuse(config, message, "password_file", "is needed to log in at auth_url: "
                                                       "name a file that holds the password");
}

static int read_application_credential(const struct config *config, struct keystone_login *login, char *message)
{
    int r = setting_secret(config, "application_credential_secret_file", config->application_credential_secret_file,
                           "OS_APPLICATION_CREDENTIAL_SECRET", &login->secret, message);
    return r < 0 || login->secret ? r : setting_refuse(config, message, "application_credential_secret_file",
                                                       "is needed: name a file that holds the secret of "
                                                       "application_credential_id");
}

int keystone_login_open(const struct config *config, struct keystone_login *ret, char message[CONFIG_MESSAGE_MAX])
{
    struct keystone_login login = { 0 };
    const char *url = setting_text(config->auth_url, "OS_AUTH_URL", NULL);
    if (!url)
        return setting_refuse(config, message, "auth_url", "must say where Keystone is, as in "
                              "https://keystone.example.org:5000/v3");
    char *base;
    int r = setting_url(config, "auth_url", url, &base, message);
    if (r < 0)
        return r;
    size_t length = strlen(base);
    bool versioned = length > 3 && strcmp(base + length - 3, "/v3") == 0;
    if (asprintf(&login.url, "%s%s", base, versioned ? "" : "/v3") < 0)
        login.url = NULL;
    free(base);
    if (!login.url)
        return setting_no_memory(message);
    /* A user in the file is meant, even where the environment has an application credential. */
    const char *variable = config->username && *config->username ? NULL : getenv("OS_APPLICATION_CREDENTIAL_ID");
    const char *id = config->application_credential_id ? config->application_credential_id : variable;
    login.application_credential = id && *id ? id : NULL;
    r = login.application_credential ? read_application_credential(config, &login, message)
                                     : read_user(config, &login, message);
    if (r < 0) {
        keystone_login_clear(&login);
        return r;
    }
    *ret = login;
    return 0;
}

void keystone_login_clear(struct keystone_login *login)
{
    free(login->url);
    secret_free(login->secret);
    *login = (struct keystone_login){ 0 };
}

/* ---- the question */

static json_t *identity_of(const struct keystone_login *l)
{
    if (l->application_credential)
        return json_pack("{s:[s], s:{s:s, s:s}}", "methods", "application_credential", "application_credential", "id",
                         l->application_credential, "secret", l->secret);
    return json_pack("{s:[s], s:{s:{s:s, s:s, s:{s:s}}}}", "methods", "password", "password", "user", "name", l->user,
                     "password", l->secret, "domain", l->user_domain_key, l->user_domain);
}

static json_t *scope_of(const struct keystone_login *l)
{
    if (strcmp(l->project_key, "id") == 0)
        return json_pack("{s:{s:s}}", "project", "id", l->project);
    return json_pack("{s:{s:s, s:{s:s}}}", "project", "name", l->project, "domain", l->project_domain_key,
                     l->project_domain);
}

int keystone_ask(const struct keystone_login *login, struct transfer_request *request)
{
    struct transfer_request q = { .method = "POST" };
    json_t *auth = json_pack("{s:o}", "identity", identity_of(login)), *document;
    if (auth && !login->application_credential) /* an application credential has its project in itself */
        json_object_set_new(auth, "scope", scope_of(login));
    document = json_pack("{s:o}", "auth", auth);
    q.body = document ? json_dumps(document, JSON_COMPACT) : NULL;
    q.body_length = q.body ? strlen(q.body) : 0;
    json_decref(document);
    int r = q.body && asprintf(&q.url, "%s/auth/tokens", login->url) >= 0 ? 0 : -ENOMEM;
    if (r == 0)
        r = transfer_request_header(&q, "Content-Type", "application/json");
    if (r == 0)
        r = transfer_request_header(&q, "Accept", "application/json");
    if (r < 0) {
        transfer_request_clear(&q);
        return r;
    }
    *request = q;
    return 0;
}

/* ---- the answer */

/* Seconds since 1970 of "2026-11-22T09:05:03.000000Z"; -1. */
static int64_t time_of(const json_t *text)
{
    struct tm tm = { 0 };
    const char *end = json_is_string(text) ? strptime(json_string_value(text), "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
    return end ? (int64_t) timegm(&tm) : -1;
}

/* Both ends are the service's, so that the difference of the clocks falls out. */
static uint64_t lifetime_of(const json_t *token)
{
    int64_t from = time_of(json_object_get(token, "issued_at")), to = time_of(json_object_get(token, "expires_at"));
    return from >= 0 && to > from ? (uint64_t) (to - from) : 0;
}

static bool is_text(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static const char *endpoint_of(const json_t *service, const char *interface, const char *region)
{
    size_t i;
    json_t *endpoint;
    json_array_foreach(json_object_get(service, "endpoints"), i, endpoint) {
        bool here = !region || is_text(json_object_get(endpoint, "region_id"), region) ||
                    is_text(json_object_get(endpoint, "region"), region);
        const char *url = json_string_value(json_object_get(endpoint, "url"));
        if (here && url && is_text(json_object_get(endpoint, "interface"), interface))
            return url;
    }
    return NULL;
}

static const char *find_url(const json_t *token, const char *type, const char *interface, const char *region)
{
    size_t i;
    json_t *service;
    json_array_foreach(json_object_get(token, "catalog"), i, service) {
        const char *url = is_text(json_object_get(service, "type"), type) ? endpoint_of(service, interface, region) : NULL;
        if (url)
            return url;
    }
    return NULL;
}

int keystone_answer(const void *body, size_t length, const char *type, const char *interface, const char *region,
                    uint64_t *ret_lifetime, char **ret_url, const char **ret_why)
{
    json_t *document = json_text_is_modest(body, length) ? json_loadb(body, length, 0, NULL) : NULL;
    const json_t *token = json_object_get(document, "token");
    char *url = NULL;
    int r = 0;
    if (!json_is_object(token)) {
        *ret_why = "its answer is no token of Keystone v3";
        r = -EPROTO;
    } else if (type) {
        const char *found = find_url(token, type, interface, region);
        if (!found) {
            *ret_why = "its catalogue has no such service there: check region and interface, or set endpoint";
            r = -ENXIO;
        } else if (!(url = strdup(found))) {
            r = -ENOMEM;
        }
    }
    if (r == 0) {
        *ret_lifetime = lifetime_of(token);
        *ret_url = url;
    }
    json_decref(document);
    return r;
}
