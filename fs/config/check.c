/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The second half of loading a configuration: what is wrong with it as a whole. Only rules that need no look at the
 * system; a rule of one option alone is in the table. Stateless.
 */
#include "config-auto.h"

#include "config/check.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "config/value.h"

/* ---- options and messages */

const struct config_option *config_option(const char *section, const char *name)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if ((section == NULL || strcmp(options[i].section, section) == 0) && strcmp(options[i].name, name) == 0)
            return &options[i];
    }
    return NULL;
}

size_t config_option_index(const struct config_option *option)
{
    size_t count;
    return (size_t)(option - config_options(&count));
}

const char *config_where(const struct config *config, const char *section, const char *name)
{
    const struct config_option *option = config_option(section, name);
    assert(option != NULL);
    const char *where = config->where != NULL ? config->where[config_option_index(option)] : NULL;
    if (where != NULL)
        return where;
    return config->path != NULL ? config->path : "the configuration";
}

int config_mistake(struct config_mistakes *m, const char *path, int line, const char *format, va_list args)
{
    char own[CONFIG_MESSAGE_MAX], at[16] = "", *message = m->fn == NULL || m->count == 0 ? m->message : own;
    if (line > 0)
        snprintf(at, sizeof at, ":%d", line);
    size_t used = (size_t)snprintf(message, CONFIG_MESSAGE_MAX, "%.200s%s: ", path, at);
    vsnprintf(message + used, CONFIG_MESSAGE_MAX - used, format, args);
    for (char *c = message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    }
    m->count++;
    if (m->fn == NULL)
        return -EINVAL;
    m->fn(m->context, message);
    return 0;
}

int config_message_memory(char *message)
{
    snprintf(message, CONFIG_MESSAGE_MAX, "out of memory while reading the configuration");
    return -ENOMEM;
}

/* A mistake in the file as a whole, or in OPTION (NULL: none). As config_mistake(). */
__attribute__((format(printf, 4, 5))) static int
fail_option(const struct config *config, const struct config_option *option, struct config_mistakes *m, const char *format, ...)
{
    const char *where = option != NULL ? config->where[config_option_index(option)] : NULL;
    va_list args;
    va_start(args, format);
    int r = config_mistake(m, config->path, where != NULL ? atoi(strrchr(where, ':') + 1) : 0, format, args);
    va_end(args);
    return r;
}

/* ---- defaults, and rules that span options */

/* A list whose only word is "none" becomes empty. One that was given but holds nothing is a mistake. */
static int finish_words(struct config *config, const struct config_option *option, struct config_mistakes *m)
{
    size_t *count;
    char ***words = config_words(config, option, &count);
    if (*count == 0 && config->where[config_option_index(option)] != NULL)
        return fail_option(config, option, m,
                           "option %s has no value: write one behind the =, or remove the line", option->name);
    for (size_t i = 0; i < *count && option->fallback != NULL; i++) {
        if (strcmp((*words)[i], "none") != 0)
            continue;
        if (*count > 1)
            return fail_option(config, option, m, "%s: \"none\" must stand alone", option->name);
        config_value_clear(config, option);
    }
    if (*words == NULL) {
        *words = calloc(1, sizeof **words);
        if (*words == NULL)
            return config_message_memory(m->message);
    }
    return 0;
}

static int fill_defaults(struct config *config, struct config_mistakes *m)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if (config->where[i] == NULL && options[i].fallback != NULL) {
            int r = config_value_set(config, &options[i], options[i].fallback);
            if (r == -ENOMEM)
                return config_message_memory(m->message);
            assert(r == 0); /* the table's own default */
        }
        if (options[i].type == CONFIG_WORDS) {
            int r = finish_words(config, &options[i], m);
            if (r < 0)
                return r;
        }
    }
    return 0;
}

static bool is_wrong(const struct config_mistakes *m, const struct config_option *option)
{
    return m->wrong != NULL && m->wrong[config_option_index(option)];
}

/* The backend in use cannot do without OPTION. */
static int fail_backend_needs(const struct config *config, const struct config_option *option, struct config_mistakes *m)
{
    const struct config_option *type = config_option("backend", "type");
    bool by_default = config->where[config_option_index(type)] == NULL;
    bool http_meant = strcmp(config->type, "file") == 0 && config->url_count > 0;
    return fail_option(config, type, m, "type = %s%s needs option %s: add \"%s = %s\" to section [%s]%s",
                       config->type, by_default ? " (the default)" : "", option->name, option->name, option->example,
                       option->section, http_meant ? ", or \"type = http\" for the url that is there" : "");
}

static int check_required(const struct config *config, struct config_mistakes *m)
{
    size_t count;
    const struct config_option *options = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        const struct config_option *option = &options[i];
        if (!config_value_missing(config, option) || is_wrong(m, option))
            continue;
        int r = 0;
        if (option->required)
            r = fail_option(config, NULL, m, "option %s is missing: add \"%s = %s\" to section [%s]",
                               option->name, option->name, option->example, option->section);
        else if (option->required_for != NULL && strcmp(option->required_for, config->type) == 0 && !is_wrong(m, config_option("backend", "type")))
            r = fail_backend_needs(config, option, m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* The configuration may be read by all and is shown by --dump-config: no secrets in it. */
static bool holds_password(const char *url)
{
    const char *host = strstr(url, "://");
    host = host != NULL ? host + 3 : url;
    return memchr(host, '@', strcspn(host, "/?#")) != NULL;
}

static bool is_http_url(const char *url)
{
    size_t scheme = strncasecmp(url, "http://", 7) == 0 ? 7 : strncasecmp(url, "https://", 8) == 0 ? 8 : 0;
    return scheme > 0 && strcspn(url + scheme, "/?#") > 0;
}

static int check_url(const struct config *config, const char *name, const char *url, struct config_mistakes *m)
{
    const struct config_option *option = config_option("backend", name);
    if (holds_password(url))
        return fail_option(config, option, m,
                           "%s holds a user or password: put user:password on the one line of a file "
                           "that only the service may read, and name it with user_file",
                           name);
    if (!is_http_url(url))
        return fail_option(config, option, m,
                           "%s = %.80s: expected a url that begins with http:// or https:// and a host", name, url);
    return 0;
}

/* A misspelt "{id}" would be asked for as it stands, and every image be missing. */
static int check_placeholders(const struct config *config, const char *url, struct config_mistakes *m)
{
    for (const char *c = url; (c = strpbrk(c, "{}")) != NULL; c += 4) {
        if (strncmp(c, "{id}", 4) != 0)
            return fail_option(config, config_option("backend", "url"), m,
                               "url = %.80s: expected {id} where the image's id stands, and no other braces", url);
    }
    return 0;
}

static int check_endpoint_count(const struct config *config, const char *name, size_t count, struct config_mistakes *m)
{
    if (count <= CONFIG_ENDPOINTS_MAX)
        return 0;
    return fail_option(config, config_option("backend", name), m,
                       "%s lists %zu servers, more than the %d that can be tried in turn: remove some, or put a balancer "
                       "before them",
                       name, count, CONFIG_ENDPOINTS_MAX);
}

static int check_urls(const struct config *config, struct config_mistakes *m)
{
    int r = check_endpoint_count(config, "url", config->url_count, m);
    if (r == 0)
        r = check_endpoint_count(config, "endpoint", config->endpoint_count, m);
    for (size_t i = 0; i < config->url_count && r == 0; i++) {
        r = check_url(config, "url", config->urls[i], m);
        if (r == 0)
            r = check_placeholders(config, config->urls[i], m);
    }
    if (r == 0 && config->list_url != NULL && strcmp(config->list_url, "none") != 0)
        r = check_url(config, "list_url", config->list_url, m);
    if (r == 0 && config->proxy != NULL && holds_password(config->proxy))
        r = fail_option(config, config_option("backend", "proxy"), m,
                        "proxy holds a user or password: set it in the service's environment instead, as https_proxy");
    return r;
}

/* Is PATH the folder DIR, or inside it? By name only. */
static bool is_inside(const char *path, const char *dir)
{
    size_t length = strlen(dir);
    while (length > 1 && dir[length - 1] == '/')
        length--;
    return strncmp(path, dir, length) == 0 && (path[length] == '\0' || path[length] == '/' || length == 1);
}

static bool is_file_name(const char *name)
{
    return strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static int check_names(const struct config *config, struct config_mistakes *m)
{
    int r = 0;
    if (config->directory != NULL && config->image_cache_dir != NULL && is_inside(config->directory, config->image_cache_dir))
        r = fail_option(config, config_option("backend", "path"), m,
                        "path = %.80s is in image_cache_dir, which holds only the cache: name another folder",
                        config->directory);
    if (r == 0 && !is_file_name(config->image_cache_sqlite_db))
        r = fail_option(config, config_option("DEFAULT", "image_cache_sqlite_db"), m,
                        "image_cache_sqlite_db = %.80s: expected the name of a file in image_cache_dir, without a /",
                        config->image_cache_sqlite_db);
    for (size_t i = 0; r == 0 && i < config->checksum_file_count; i++) {
        if (!is_file_name(config->checksum_files[i]))
            r = fail_option(config, config_option("backend", "checksums"), m,
                            "checksums = %.80s: expected names of files beside the images, without a /",
                            config->checksum_files[i]);
    }
    return r;
}

static int check_credentials(const struct config *config, struct config_mistakes *m)
{
    int r = 0;
    if (config->user_file != NULL && config->token_file != NULL)
        r = fail_option(config, config_option("backend", "token_file"), m,
                        "user_file and token_file exclude each other: remove one of the two");
    if (r == 0 && config->client_key_file != NULL && config->client_cert_file == NULL)
        r = fail_option(config, config_option("backend", "client_key_file"), m,
                        "client_key_file needs client_cert_file: add the certificate that belongs to the key");
    return r;
}

/* What auth = WORD cannot do without. */
static int need_for_auth(const struct config *config, const char *name, const char *value, struct config_mistakes *m)
{
    static const char *const words[] = {[API_AUTH_TOKEN] = "token", [API_AUTH_KEYSTONE] = "keystone"};
    const struct config_option *option = config_option("api", name);
    if (value != NULL || is_wrong(m, option))
        return 0;
    return fail_option(config, config_option("api", "auth"), m,
                       "auth = %s needs option %s: add \"%s = %s\" to section [api]", words[config->api.auth], name, name,
                       option->example);
}

static int check_service_url(const struct config *config, const char *name, const char *url, struct config_mistakes *m)
{
    if (url == NULL || (is_http_url(url) && !holds_password(url)))
        return 0;
    return fail_option(config, config_option("api", name), m,
                       "%s = %.80s: expected a url that begins with http:// or https:// and a host, without a password",
                       name, url);
}

static int check_upstream(const struct config *config, struct config_mistakes *m)
{
    const struct config_api *api = &config->api;
    bool catalogue = api->upstream_count == 1 && strcmp(api->upstream[0], "catalog") == 0;
    if (catalogue && api->auth != API_AUTH_KEYSTONE)
        return fail_option(config, config_option("api", "upstream"), m, "upstream = catalog needs auth = keystone, which tells the catalogue: set both, or name the url");
    for (size_t i = 0; !catalogue && i < api->upstream_count; i++) {
        int r = check_service_url(config, "upstream", api->upstream[i], m);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Without Keystone nobody knows who may see what was seen. */
static int check_documents(const struct config *config, struct config_mistakes *m)
{
    const char *name = config->api.document_ttl > 0 ? "document_ttl" : config->api.stale_if_error > 0 ? "stale_if_error" : NULL;
    if (name == NULL)
        return 0;
    return fail_option(config, config_option("api", name), m, "%s needs auth = keystone: set both, or remove it", name);
}

static int check_api(const struct config *config, struct config_mistakes *m)
{
    const struct config_api *api = &config->api;
    int r = 0;
    if (api->auth == API_AUTH_TOKEN)
        r = need_for_auth(config, "admin_token_file", api->admin_token_file, m);
    if (r == 0 && api->auth == API_AUTH_KEYSTONE)
        r = need_for_auth(config, "auth_url", api->auth_url, m);
    if (r == 0 && api->auth == API_AUTH_KEYSTONE && api->upstream_count == 0)
        r = need_for_auth(config, "image_url", api->image_url, m);
    if (r == 0 && api->auth != API_AUTH_KEYSTONE)
        r = check_documents(config, m);
    if (r == 0)
        r = check_service_url(config, "auth_url", api->auth_url, m);
    if (r == 0)
        r = check_service_url(config, "image_url", api->image_url, m);
    if (r == 0)
        r = check_upstream(config, m);
    if (r == 0)
        r = check_service_url(config, "worker_self_reference_url", api->worker_self_reference_url, m);
    if (r == 0 && api->tls_key_file != NULL && api->tls_cert_file == NULL)
        r = fail_option(config, config_option("api", "tls_key_file"), m,
                        "tls_key_file needs tls_cert_file: add the certificate that belongs to the key");
    return r;
}

int config_check(struct config *config, struct config_mistakes *m)
{
    int (*const checks[])(const struct config *, struct config_mistakes *) = {check_required, check_urls, check_names, check_credentials,
                                                                             check_api};
    int r = fill_defaults(config, m);
    for (size_t i = 0; i < sizeof checks / sizeof checks[0] && r == 0; i++)
        r = checks[i](config, m);
    return r;
}
