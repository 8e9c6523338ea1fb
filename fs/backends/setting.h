/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the backends share when they read their part of the configuration. For open(): each failure fills MESSAGE
 * (CONFIG_MESSAGE_MAX bytes) with one line that says where, what and what to do.
 */
#ifndef GCFS_BACKEND_SETTING_H
#define GCFS_BACKEND_SETTING_H

#include "config/config.h"

int setting_refuse(const struct config *config, char *message, const char *option, const char *why); /* -EINVAL */
int setting_no_memory(char *message); /* -ENOMEM */

/* VALUE, an option of the configuration; when that is not set, the environment's VARIABLE; when that is empty or not set,
 * FALLBACK, which may be NULL. Valid as long as the configuration and the environment. */
const char *setting_text(const char *value, const char *variable, const char *fallback);

/* The one line of the file at PATH, which OPTION names; *ret stays as it is when PATH is NULL or "". secret_free() it. */
int setting_secret_file(const struct config *config, const char *option, const char *path, char **ret, char *message);

/* A secret: the one line of the file at PATH, which OPTION names, else the environment's VARIABLE. *ret is a copy, NULL when
 * there is none; secret_free() it. */
int setting_secret(const struct config *config, const char *option, const char *path, const char *variable, char **ret,
                   char *message);

/* A copy of URL, which OPTION or the environment gave, without the slashes at its end. It must be http's, without userinfo,
 * query and fragment. free() it. */
int setting_url(const struct config *config, const char *option, const char *url, char **ret, char *message);

#endif
