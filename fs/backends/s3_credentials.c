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

static int join(const char *key, const char *secret, const char *token, struct s3_credentials *ret, char *message)
{
    struct s3_credentials c = { 0 };
    if (asprintf(&c.user_password, "%s:%s", key, secret) < 0)
        c.user_password = NULL;
    if (token && *token)
        c.session_token = strdup(token);
    if (!c.user_password || (token && *token && !c.session_token)) {
        s3_credentials_clear(&c);
        return setting_no_memory(message);
    }
    *ret = c;
    return 0;
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
        r = join(p.key, p.secret, p.token, ret, message);
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
        r = join(config->access_key, secret, NULL, ret, message);
    secret_free(secret);
    return r;
}

int s3_credentials_read(const struct config *config, struct s3_credentials *ret, char message[CONFIG_MESSAGE_MAX])
{
    if (config->access_key && strchr(config->access_key, ':'))
        return setting_refuse(config, message, "access_key", "holds a ':', which the signing library takes for its end");
    if (config->access_key && *config->access_key)
        return read_options(config, ret, message);
    if (config->credentials_file && *config->credentials_file)
        return read_shared(config, config->credentials_file, ret, message);
    const char *key = setting_text(NULL, "AWS_ACCESS_KEY_ID", NULL);
    const char *secret = setting_text(NULL, "AWS_SECRET_ACCESS_KEY", NULL);
    if (key && secret)
        return join(key, secret, getenv("AWS_SESSION_TOKEN"), ret, message);
    const char *shared = setting_text(NULL, "AWS_SHARED_CREDENTIALS_FILE", NULL);
    return shared ? read_shared(config, shared, ret, message) : 0;
}
