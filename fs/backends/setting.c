/* SPDX-License-Identifier: Apache-2.0 */
/* Reading settings of backends: options, files of secrets, the environment. Stateless. */
#include "config-auto.h"

#include "backends/setting.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backends/http_url.h"
#include "base/secret.h"

int setting_refuse(const struct config *config, char *message, const char *option, const char *why)
{
    snprintf(message, CONFIG_MESSAGE_MAX, "%s: %s: %s", config_where(config, "backend", option), option, why);
    return -EINVAL;
}

int setting_no_memory(char *message)
{
    snprintf(message, CONFIG_MESSAGE_MAX, "out of memory");
    return -ENOMEM;
}

const char *setting_text(const char *value, const char *variable, const char *fallback)
{
    if (value && *value)
        return value;
    const char *text = getenv(variable);
    return text && *text ? text : fallback;
}

int setting_secret_file(const struct config *config, const char *option, const char *path, char **ret, char *message)
{
    if (!path || !*path)
        return 0;
    int r = secret_read(path, ret);
    if (r == -ENOMEM)
        return setting_no_memory(message);
    if (r < 0) {
        char why[400];
        snprintf(why, sizeof(why), "%.250s %s%s", path, r == -EINVAL || r == -ENODATA ? "" : "cannot be read: ",
                 secret_error(r));
        return setting_refuse(config, message, option, why);
    }
    return 0;
}

int setting_secret(const struct config *config, const char *option, const char *path, const char *variable, char **ret,
                   char *message)
{
    char *secret = NULL;
    int r = setting_secret_file(config, option, path, &secret, message);
    if (r < 0)
        return r;
    const char *text = secret ? NULL : setting_text(NULL, variable, NULL);
    if (text && !(secret = strdup(text)))
        return setting_no_memory(message);
    *ret = secret;
    return 0;
}

int setting_url(const struct config *config, const char *option, const char *url, char **ret, char *message)
{
    struct http_url parts;
    const char *why;
    int r = http_url_parse(url, false, &parts, &why);
    if (r == -ENOMEM)
        return setting_no_memory(message);
    if (r == 0 && (parts.user_password || strpbrk(parts.url, "?#"))) {
        http_url_clear(&parts);
        why = "may hold neither a password nor a query";
        r = -EINVAL;
    }
    if (r < 0)
        return setting_refuse(config, message, option, why);
    char *copy = strdup(parts.url);
    http_url_clear(&parts);
    if (!copy)
        return setting_no_memory(message);
    size_t length = strlen(copy);
    while (length > 0 && copy[length - 1] == '/')
        copy[--length] = '\0';
    *ret = copy;
    return 0;
}
