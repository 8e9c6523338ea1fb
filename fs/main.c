/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-fs(8): does what the command line asks for. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/version.h"
#include "config/config.h"
#include "keeper/control.h"
#include "keeper/keeper.h"
#include "keeper/report.h"
#include "process/command_line.h"
#include "worker/check.h"
#include "worker/worker.h"

static int dump(const char *path)
{
    char message[CONFIG_MESSAGE_MAX];
    struct config *config;
    if (config_load(path, &config, message) < 0) {
        log_error("%s", message);
        return 1;
    }
    config_dump(config, stdout);
    config_free(config);
    return 0;
}

/* In the background: the caller waits here until the mount is served, or cannot be. */
static int mount_in_background(const struct command_line *line)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) < 0) {
        log_errno(-errno, "going into the background");
        return 1;
    }
    pid_t pid = fork();
    if (pid < 0) {
        log_errno(-errno, "going into the background");
        return 1;
    }
    if (pid > 0) {
        close(ready[1]);
        ssize_t n;
        while ((n = read(ready[0], &byte, 1)) < 0 && errno == EINTR)
            continue;
        return n == 1 ? 0 : 1;
    }
    close(ready[0]);
    setsid();
    return keeper_run(line, ready[1]);
}

static int finish_output(int code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    log_errno(-errno, "writing to standard output");
    return 1;
}

/* So that no descriptor of ours is taken for standard error. */
static void open_standard_descriptors(void)
{
    int fd;
    do {
        fd = open("/dev/null", O_RDWR);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd > STDERR_FILENO)
        close(fd);
}

int main(int argc, char **argv)
{
    struct command_line line;
    int code = 0;
    open_standard_descriptors();
    if (command_line_parse(argc, argv, &line) < 0)
        return 1;
    switch (line.command) {
    case COMMAND_MOUNT:
        code = line.foreground ? keeper_run(&line, -1) : mount_in_background(&line);
        break;
    case COMMAND_WORKER:
        code = worker_run(&line);
        break;
    case COMMAND_CHECK:
        code = worker_check(line.config, line.online) < 0 ? 1 : 0;
        break;
    case COMMAND_RELOAD:
    case COMMAND_UPGRADE:
        code = control_ask(line.mountpoint, line.command == COMMAND_UPGRADE) < 0 ? 1 : 0;
        break;
    case COMMAND_REPORT:
        code = report_write(line.mountpoint) < 0 ? 1 : 0;
        break;
    case COMMAND_DUMP:
        code = dump(line.config);
        break;
    case COMMAND_HELP:
        command_line_help(stdout);
        break;
    case COMMAND_HELP_CONFIG:
        command_line_help_config(stdout);
        break;
    case COMMAND_VERSION:
        version_print("glance-cache-fs");
        break;
    }
    command_line_free(&line);
    return finish_output(code);
}
