/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: what was asked for. */
#ifndef GCFS_COMMAND_LINE_H
#define GCFS_COMMAND_LINE_H

#include <stdbool.h>
#include <stdio.h>

enum command { COMMAND_MOUNT, COMMAND_CHECK, COMMAND_DUMP, COMMAND_RELOAD, COMMAND_UPGRADE, COMMAND_REPORT, COMMAND_HELP, COMMAND_HELP_CONFIG, COMMAND_VERSION, COMMAND_WORKER };

struct command_line {
    enum command command;
    bool foreground, debug;
    bool online; /* COMMAND_CHECK: the backend is asked, too */
    bool allow_other, allow_root;
    bool has_fsname;
    char *mount_options; /* for libfuse, comma-separated; "" */
    const char *config, *mountpoint;
    int control_fd, config_fd; /* COMMAND_WORKER: given by the keeper */
};

/* -EINVAL: said on standard error what is wrong. The strings of *ret point into ARGV, but the options. */
int command_line_parse(int argc, char **argv, struct command_line *ret);
void command_line_free(struct command_line *line);
void command_line_help(FILE *out);
void command_line_help_config(FILE *out); /* the options of the configuration */

#endif
