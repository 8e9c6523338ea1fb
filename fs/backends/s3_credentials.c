/* SPDX-License-Identifier: Apache-2.0 */
/* Credentials for S3, as other S3 clients find them. No state, no lock. */
#include "config-auto.h"

#include "backends/s3_credentials.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/setting.h"
#include "base/log.h"
#include "base/secret.h"

void s3_credentials_clear(struct s3_credentials *c)
{
    secret_free(c->user_password);
    secret_free(c->session_token);
    *c = (struct s3_credentials){ 0 };
}

int s3_credentials_make(const char *key, const char *secret, const char *token, struct s3_credentials *ret)
{
    struct s3_credentials c = { 0 };
    if (strchr(key, ':'))
        return -EINVAL;
    if (asprintf(&c.user_password, "%s:%s", key, secret) < 0)
        c.user_password = NULL;
    if (token && *token)
        c.session_token = strdup(token);
    if (!c.user_password || (token && *token && !c.session_token)) {
        s3_credentials_clear(&c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

/* OPTION: where KEY is from. */
static int join(const struct config *config, const char *option, const char *key, const char *secret, const char *token,
                struct s3_credentials *ret, char *message)
{
    int r = s3_credentials_make(key, secret, token, ret);
    if (r == -EINVAL)
        return setting_refuse(config, message, option, "the access key holds a ':', which the signing library takes for its end");
    return r < 0 ? setting_no_memory(message) : 0;
}

/* ---- a shared-credentials file */

struct profile {
    const char *name;
    bool found;
    char *key, *secret, *token;
};

static int take_line(void *context, const char *section, const char *name, const char *value)
{
    struct profile *p = context;
    if (strcmp(section, p->name) != 0)
        return 0;
    p->found = true;
    char **to = strcmp(name, "aws_access_key_id") == 0       ? &p->key
                : strcmp(name, "aws_secret_access_key") == 0 ? &p->secret
                : strcmp(name, "aws_session_token") == 0     ? &p->token
                                                             : NULL;
    if (!to)
        return 0;
    secret_free(*to);
    *to = strdup(value);
    return *to ? 0 : -ENOMEM;
}

static int refuse_profile(const struct config *config, const char *path, const struct profile *p, int error, char *message)
{
    char why[400];
    if (error < 0)
        snprintf(why, sizeof(why), "%.200s cannot be read: %s", path, error_text(error));
    else
        snprintf(why, sizeof(why), "%.200s %s [%.60s]%s", path, p->found ? "has in its section" : "has no section", p->name,
                 p->found ? " not both aws_access_key_id and aws_secret_access_key" : "; see option profile");
    return setting_refuse(config, message, "credentials_file", why);
}

static int read_shared(const struct config *config, const char *path, struct s3_credentials *ret, char *message)
{
    struct profile p = { .name = setting_text(config->profile, "AWS_PROFILE", "default") };
    int r = config_read_ini(path, take_line, &p);
    if (r == -ENOMEM)
        r = setting_no_memory(message);
    else if (r < 0 || !p.key || !p.secret)
        r = refuse_profile(config, path, &p, r, message);
    else
        r = join(config, "credentials_file", p.key, p.secret, p.token, ret, message);
    secret_free(p.key);
    secret_free(p.secret);
    secret_free(p.token);
    return r;
}

/* ---- all places */

static int read_options(const struct config *config, struct s3_credentials *ret, char *message)
{
    char *secret = NULL;
    int r = setting_secret_file(config, "secret_key_file", config->secret_key_file, &secret, message);
    if (r == 0 && !secret)
        r = setting_refuse(config, message, "secret_key_file", "is needed with access_key: name a file with the secret key");
    if (r == 0)
        r = join(config, "access_key", config->access_key, secret, NULL, ret, message);
    secret_free(secret);
    return r;
}

static bool is_set(const char *option)
{
    return option && *option;
}

static bool in_environment(const char *name)
{
    return setting_text(NULL, name, NULL);
}

static enum s3_source source_of_keys(const struct config *config)
{
    if (is_set(config->access_key))
        return S3_FROM_OPTIONS;
    return in_environment("AWS_ACCESS_KEY_ID") && in_environment("AWS_SECRET_ACCESS_KEY") ? S3_FROM_ENVIRONMENT : S3_FROM_NOWHERE;
}

static enum s3_source source_of_any(const struct config *config)
{
    enum s3_source keys = source_of_keys(config);
    if (keys == S3_FROM_OPTIONS || (keys == S3_FROM_ENVIRONMENT && !is_set(config->credentials_file)))
        return keys;
    if (is_set(config->credentials_file) || in_environment("AWS_SHARED_CREDENTIALS_FILE"))
        return S3_FROM_FILE;
    bool container = in_environment("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") || in_environment("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    return container ? S3_FROM_CONTAINER : S3_FROM_NOWHERE;
}

enum s3_source s3_credentials_source(const struct config *config)
{
    switch (config->credentials) {
    case CREDENTIALS_KEYS:
        return source_of_keys(config);
    case CREDENTIALS_FILE:
        return S3_FROM_FILE;
    case CREDENTIALS_CONTAINER:
        return S3_FROM_CONTAINER;
    case CREDENTIALS_INSTANCE:
        return S3_FROM_INSTANCE;
    case CREDENTIALS_NONE:
        return S3_FROM_NOWHERE;
    case CREDENTIALS_AUTO:
        break;
    }
    return source_of_any(config);
}

static const char *shared_path(const struct config *config)
{
    return setting_text(config->credentials_file, "AWS_SHARED_CREDENTIALS_FILE", NULL);
}

const char *s3_credentials_path(const struct config *config)
{
    enum s3_source source = s3_credentials_source(config);
    return source == S3_FROM_OPTIONS ? config->secret_key_file : source == S3_FROM_FILE ? shared_path(config) : NULL;
}

int s3_credentials_read(const struct config *config, struct s3_credentials *ret, char message[CONFIG_MESSAGE_MAX])
{
    enum s3_source source = s3_credentials_source(config);
    const char *path = shared_path(config);
    if (source == S3_FROM_NOWHERE && config->credentials == CREDENTIALS_KEYS)
        return setting_refuse(config, message, "credentials", "is keys: set access_key and secret_key_file, or AWS_ACCESS_KEY_ID and "
                              "AWS_SECRET_ACCESS_KEY in the environment");
    if (source == S3_FROM_FILE && !path)
        return setting_refuse(config, message, "credentials", "is file: name it with credentials_file");
    if (source == S3_FROM_OPTIONS)
        return read_options(config, ret, message);
    if (source == S3_FROM_FILE)
        return read_shared(config, path, ret, message);
    if (source == S3_FROM_ENVIRONMENT)
        return join(config, "credentials", getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN"), ret,
                    message);
    return 0;
}
