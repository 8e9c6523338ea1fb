/* SPDX-License-Identifier: Apache-2.0 */
/* What the loader and the rules of the configuration share. Only for the configuration's own files. */
#ifndef GCFS_CONFIG_CHECK_H
#define GCFS_CONFIG_CHECK_H

#include <stdarg.h>

#include "config/config.h"

/* The option NAME of SECTION, or of any section (NULL); NULL when there is none. And its place in the table. */
const struct config_option *config_option(const char *section, const char *name);
size_t config_option_index(const struct config_option *option);

/* What is wrong. With FN, each mistake is told to it and the reading goes on; without, the first one ends it. */
struct config_mistakes {
    config_mistake_fn *fn;
    void *context;
    char *message; /* CONFIG_MESSAGE_MAX bytes: the first one */
    unsigned count;
    bool *wrong;   /* of each option in the table: its line is one of the mistakes, its value stands for nothing. NULL without FN */
};

/* One mistake, "PATH:LINE: what and what to do" (LINE 0: none), in one line whatever is in the file. Returns -EINVAL where it ends the
 * reading, 0 where that goes on. */
int config_mistake(struct config_mistakes *m, const char *path, int line, const char *format, va_list args)
    __attribute__((format(printf, 4, 0)));
int config_message_memory(char *message); /* returns -ENOMEM */

/* Fills in the defaults of what was not given, then checks the rules that span options. 0; -EINVAL or -ENOMEM with
 * the message. */
int config_check(struct config *config, struct config_mistakes *m);

#endif
