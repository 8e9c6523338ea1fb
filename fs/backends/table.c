/* SPDX-License-Identifier: Apache-2.0 */
/* The table of backends: a new one is a line here. No state, no lock. */
#include "config-auto.h"

#include "backends/backend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct backend_ops *const backends[] = { &backend_file, &backend_http, &backend_glance,
                                                   &backend_swift, &backend_s3 };

int backend_open(const struct config *config, const struct backend_ops **ret_ops, struct backend **ret,
                 char message[CONFIG_MESSAGE_MAX])
{
    for (size_t i = 0; i < sizeof(backends) / sizeof(backends[0]); i++) {
        if (strcmp(backends[i]->type, config->type) != 0)
            continue;
        int r = backends[i]->open(config, ret, message);
        if (r == 0)
            *ret_ops = backends[i];
        return r;
    }
    snprintf(message, CONFIG_MESSAGE_MAX, "%s: type: there is no backend \"%s\"",
             config_where(config, "backend", "type"), config->type);
    return -EINVAL;
}
