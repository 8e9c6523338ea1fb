/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, by one table of options. Stateless, but for getopt's own. */
#include "config-auto.h"

#include "process/command_line.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "process/link.h"

enum { OPTION_CHECK = 256, OPTION_ONLINE, OPTION_DUMP, OPTION_RELOAD, OPTION_UPGRADE, OPTION_REPORT, OPTION_HELP, OPTION_HELP_CONFIG, OPTION_VERSION, OPTION_WORKER };

static const struct option long_options[] = {
    {"foreground", no_argument, NULL, 'f'},
    {"debug", no_argument, NULL, 'd'},
    {"verbose", no_argument, NULL, 'd'},
    {"options", required_argument, NULL, 'o'},
    {"check", required_argument, NULL, OPTION_CHECK},
    {"online", no_argument, NULL, OPTION_ONLINE},
    {"dump-config", required_argument, NULL, OPTION_DUMP},
    {"reload", required_argument, NULL, OPTION_RELOAD},
    {"upgrade", required_argument, NULL, OPTION_UPGRADE},
    {"report", required_argument, NULL, OPTION_REPORT},
    {"help", no_argument, NULL, OPTION_HELP},
    {"help-config", no_argument, NULL, OPTION_HELP_CONFIG},
    {"version", no_argument, NULL, OPTION_VERSION},
    {"worker", required_argument, NULL, OPTION_WORKER}, /* the keeper's */
    {NULL, 0, NULL, 0},
};

void command_line_help(FILE *out)
{
    fputs("Usage: glance-cache-fs [-fv] [-o OPTIONS] CONFIG MOUNTPOINT\n"
          "       glance-cache-fs --check CONFIG [--online] | --dump-config CONFIG | --help | --help-config | --version\n"
          "       glance-cache-fs --reload MOUNTPOINT | --upgrade MOUNTPOINT | --report MOUNTPOINT\n"
          "\n"
          "Mounts a file system at MOUNTPOINT that caches virtual machine images; CONFIG says where from and where to.\n"
          "\n"
          "  -f, --foreground      stay in the foreground, log to standard error\n"
          "  -v, --verbose         log at level debug; also -d, --debug\n"
          "  -o, --options OPTIONS mount options, comma-separated: allow_other, ro, …\n"
          "      --check CONFIG    read the configuration, say all that is wrong with it, or what it comes to\n"
          "      --online          with --check: log in, list the backend, and ask for an image\n"
          "      --dump-config CONFIG\n"
          "                        print the configuration in force, defaults included\n"
          "      --reload MOUNTPOINT\n"
          "                        have the mount take the configuration as it is now; says when it cannot\n"
          "      --upgrade MOUNTPOINT\n"
          "                        have it go over to the program that is now on disk, while reads go on\n"
          "      --report MOUNTPOINT >FILE\n"
          "                        write an archive (tar) for whoever helps, without secrets\n"
          "      --help-config     list the options of the configuration, with their defaults\n"
          "  -h, --help            print this\n"
          "  -V, --version         print the version and the commit\n",
          out);
}

void command_line_help_config(FILE *out)
{
    fputs("Options of the configuration, with their defaults (described in glance-cache.conf(5)):\n", out);
    size_t count;
    const struct config_option *options = config_options(&count);
    const char *section = "";
    for (size_t i = 0; i < count; i++) {
        if (strcmp(section, options[i].section) != 0)
            fprintf(out, "  [%s]\n", options[i].section);
        section = options[i].section;
        fprintf(out, "    %s", options[i].name);
        if (options[i].fallback != NULL)
            fprintf(out, " = %s", options[i].fallback);
        const char *end = options[i].fallback != NULL ? options[i].fallback + strlen(options[i].fallback) - 1 : "0";
        if (options[i].unit != NULL && *end >= '0' && *end <= '9')
            fprintf(out, " (%s)", options[i].unit);
        fputs(options[i].required ? " (required)\n" : "\n", out);
    }
}

/* Words of fstab that are for others than the file system. */
static bool is_for_others(const char *option)
{
    static const char *const words[] = {"defaults", "auto", "noauto", "nofail", "_netdev", "user", "nouser", "users", "owner", "group"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(option, words[i]) == 0)
            return true;
    }
    return strncmp(option, "x-", 2) == 0 || strncmp(option, "comment=", 8) == 0;
}

static int add_mount_option(struct command_line *line, const char *option)
{
    char *joined;
    if (*option == '\0' || is_for_others(option))
        return 0;
    /* What libfuse does itself with requests, and not the kernel: it is the worker that takes them. */
    if (strcmp(option, "debug") == 0) {
        line->debug = true;
        return 0;
    }
    line->allow_root |= strcmp(option, "allow_root") == 0;
    line->allow_other |= strcmp(option, "allow_other") == 0;
    line->has_fsname |= strncmp(option, "fsname=", 7) == 0;
    if (asprintf(&joined, "%s%s%s", line->mount_options, *line->mount_options != '\0' ? "," : "", option) < 0)
        return -ENOMEM;
    free(line->mount_options);
    line->mount_options = joined;
    return 0;
}

/* TEXT is split in place; a comma behind a backslash belongs to its option. */
static int add_mount_options(struct command_line *line, char *text)
{
    int r = 0;
    for (char *start = text, *c = text; r == 0; c++) {
        if (*c == '\\' && c[1] != '\0') {
            c++;
        } else if (*c == ',' || *c == '\0') {
            bool last = *c == '\0';
            *c = '\0';
            r = add_mount_option(line, start);
            start = c + 1;
            if (last)
                break;
        }
    }
    return r;
}

static int take_worker_fds(struct command_line *line, const char *text)
{
    int version;
    if (sscanf(text, "%d:%d:%d", &version, &line->control_fd, &line->config_fd) != 3 || version != LINK_VERSION) {
        fputs("glance-cache-fs: this program and the one that serves the mount are of versions that do not go together: "
              "unmount and mount again to change over\n", stderr);
        return -EINVAL;
    }
    line->command = COMMAND_WORKER;
    return 0;
}

static int take_option(struct command_line *line, int option)
{
    switch (option) {
    case 'f':
        line->foreground = true;
        return 0;
    case 'd':
        line->debug = true;
        return 0;
    case 'o':
        return add_mount_options(line, optarg);
    case OPTION_ONLINE:
        line->online = true;
        return 0;
    case OPTION_CHECK:
    case OPTION_DUMP:
        line->command = option == OPTION_CHECK ? COMMAND_CHECK : COMMAND_DUMP;
        line->config = optarg;
        return 0;
    case OPTION_RELOAD:
    case OPTION_UPGRADE:
        line->command = option == OPTION_RELOAD ? COMMAND_RELOAD : COMMAND_UPGRADE;
        line->mountpoint = optarg;
        return 0;
    case OPTION_REPORT:
        line->command = COMMAND_REPORT;
        line->mountpoint = optarg;
        return 0;
    case OPTION_HELP:
        line->command = COMMAND_HELP;
        return 0;
    case OPTION_HELP_CONFIG:
        line->command = COMMAND_HELP_CONFIG;
        return 0;
    case OPTION_VERSION:
        line->command = COMMAND_VERSION;
        return 0;
    case OPTION_WORKER:
        return take_worker_fds(line, optarg);
    default:
        fputs("Try glance-cache-fs --help.\n", stderr);
        return -EINVAL;
    }
}

static int take_operands(struct command_line *line, int count, char **operands)
{
    int wanted = line->command == COMMAND_MOUNT || line->command == COMMAND_WORKER ? 2 : 0;
    if (line->command == COMMAND_HELP || line->command == COMMAND_HELP_CONFIG || line->command == COMMAND_VERSION)
        return 0;
    if (line->command == COMMAND_CHECK && strcmp(line->config, "--online") == 0 && count == 1) { /* --check --online CONFIG */
        line->online = true;
        line->config = operands[0];
        return 0;
    }
    if (count != wanted) {
        fprintf(stderr, "glance-cache-fs: %s\nTry glance-cache-fs --help.\n",
                wanted == 0 ? "there is more on the command line than the configuration"
                : count < 2 ? "name the configuration and the mount point"
                            : "there is more on the command line than the configuration and the mount point");
        return -EINVAL;
    }
    if (wanted == 2) {
        line->config = operands[0];
        line->mountpoint = operands[1];
    }
    return 0;
}

int command_line_parse(int argc, char **argv, struct command_line *ret)
{
    struct command_line line = {.control_fd = -1, .config_fd = -1, .mount_options = strdup("")};
    int option, r = line.mount_options == NULL ? -ENOMEM : 0;
    while (r == 0 && (option = getopt_long(argc, argv, "fdvo:hV", long_options, NULL)) != -1)
        r = take_option(&line, option == 'h' ? OPTION_HELP : option == 'V' ? OPTION_VERSION : option == 'v' ? 'd' : option);
    if (r == 0 && line.allow_other && line.allow_root) {
        fputs("glance-cache-fs: -o: allow_other is for all users, allow_root for root only: give one of them\n", stderr);
        r = -EINVAL;
    }
    if (r == 0)
        r = take_operands(&line, argc - optind, argv + optind);
    if (r < 0) {
        command_line_free(&line);
        return r;
    }
    *ret = line;
    return 0;
}

void command_line_free(struct command_line *line)
{
    free(line->mount_options);
    line->mount_options = NULL;
}
