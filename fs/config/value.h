/* SPDX-License-Identifier: Apache-2.0 */
/* One value of the configuration: from its text into struct config, and back. Only for the configuration's files. */
#ifndef GCFS_CONFIG_VALUE_H
#define GCFS_CONFIG_VALUE_H

#include "config/config.h"

/* Puts TEXT (not empty) into OPTION's member; words are added to those that are there. -EINVAL when it is not a value
 * of the option, -ENOMEM. */
int config_value_set(struct config *config, const struct config_option *option, const char *text);
/* Frees what the member holds and empties it. */
void config_value_clear(struct config *config, const struct config_option *option);

/* Is there no value? Numbers, booleans and enums always have one; so does a list with a default (it may be "none"). */
bool config_value_missing(const struct config *config, const struct config_option *option);
/* The value as it would stand in the file; a list of several words goes on in indented lines. */
void config_value_print(const struct config *config, const struct config_option *option, FILE *out);
/* What the option wants, for a message or a comment: "a number from 1 to 32 (connections)". */
void config_value_describe(const struct config_option *option, char *text, size_t size);

/* The members of options of these kinds. */
char **config_string(const struct config *config, const struct config_option *option);
char ***config_words(const struct config *config, const struct config_option *option, size_t **ret_count);

#endif
