/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader and the rules of the configuration share. Only for the configuration's own files. */
#ifndef GCFS_CONFIG_CHECK_H
#define GCFS_CONFIG_CHECK_H

#include <stdarg.h>

#include "config/config.h"

/* The option NAME of SECTION, or of any section (NULL); NULL when there is none. And its place in the table. */
const struct config_option *config_option(const char *section, const char *name);
size_t config_option_index(const struct config_option *option);

/* Fills MESSAGE with "PATH:LINE: what and what to do" (LINE 0: none), one line whatever is in the file. Returns
 * -EINVAL. */
int config_message(const char *path, int line, char *message, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
int config_message_memory(char *message); /* returns -ENOMEM */

/* Fills in the defaults of what was not given, then checks the rules that span options. 0; -EINVAL or -ENOMEM with
 * MESSAGE. */
int config_check(struct config *config, char *message);

#endif
