/* SPDX-License-Identifier: Apache-2.0 */
/* A first main: one process, in the foreground. */
#include "config-auto.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "fuse_loop.h"
#include "ledger.h"
#include "log.h"
#include "store.h"
#include "worker.h"

int main(int argc, char **argv)
{
    char *options = NULL;
    bool debug = false;
    int c;
    while ((c = getopt(argc, argv, "fdo:")) != -1) {
        if (c == 'o')
            options = optarg;
        else if (c == 'd')
            debug = true;
        else if (c != 'f')
            return 1;
    }
    if (argc - optind != 2)
        return 1;
    char message[CONFIG_MESSAGE_MAX];
    struct config *config;
    if (config_load(argv[optind], &config, message) < 0) {
        fprintf(stderr, "glance-cache-fs: %s\n", message);
        return 1;
    }
    log_set_level(debug ? LOG_DEBUG : log_level_by_name(config->log_level));
    fuse_loop_prepare();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    int signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    int ended_fd = eventfd(0, EFD_CLOEXEC);

    int lock_fd, pid, ledger_fd;
    int r = store_lock(config->image_cache_dir, &lock_fd, &pid);
    if (r < 0) {
        fprintf(stderr, "glance-cache-fs: %s: %s is in use by process %d\n", config_where(config, "DEFAULT", "image_cache_dir"),
                config->image_cache_dir, pid);
        return 1;
    }
    if (ledger_create(&ledger_fd) < 0)
        return 1;
    curl_global_init(CURL_GLOBAL_DEFAULT);

    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    static const struct fuse_lowlevel_ops none;
    fuse_opt_add_arg(&args, "glance-cache-fs");
    if (options) {
        fuse_opt_add_arg(&args, "-o");
        fuse_opt_add_arg(&args, options);
    }
    fuse_opt_add_arg(&args, "-osubtype=glance-cache-fs");
    struct fuse_session *se = fuse_session_new(&args, &none, sizeof(none), NULL);
    if (!se || fuse_session_mount(se, argv[optind + 1]) < 0)
        return 1;
    struct worker *w;
    struct worker_mount mount = {.fuse_fd = dup(fuse_session_fd(se)), .ledger_fd = ledger_fd, .debug = debug,
                                 .allow_other = options && strstr(options, "allow_other"), .why_no_passthrough = "not yet"};
    r = worker_start(config, &mount, ended_fd, &w);
    if (r == 0) {
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = ended_fd, .events = POLLIN}};
        while (poll(fds, 2, -1) < 0 && errno == EINTR)
            continue;
        if (fds[0].revents) /* no new work while the engine ends */
            log_info("ending");
        worker_stop(w, false);
    }
    fuse_session_unmount(se);
    fuse_session_destroy(se);
    fuse_opt_free_args(&args);
    config_free(config);
    return r == 0 ? 0 : 1;
}
