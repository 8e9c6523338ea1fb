/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's life: configuration and secrets, privileges dropped, then (told to go) store, catalogue, engine, view
 * and the threads that serve; at the end the same in reverse.
 *
 *   The files with secrets are read by root, before the privileges go; those that libcurl opens by itself (certificates, a key) and the
 *   folder of the file backend are opened later and must be readable by the worker's user. That is checked here.
 *
 * The main thread does all this and then waits for the keeper's word; no lock.
 */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "process/link.h"
#include "process/privileges.h"
#include "worker/private.h"

/* ---- before the privileges go */

static int load(struct worker *w, const char *from)
{
    char message[CONFIG_MESSAGE_MAX];
    int r = config_load_copy(from, w->line->config, &w->config, message);
    if (r == 0) {
        log_set_level(w->line->debug ? LOG_DEBUG : log_level_by_name(w->config->log_level));
        r = backend_open(w->config, &w->ops, &w->backend, message);
    }
    if (r < 0)
        log_error("%s", message);
    return r;
}

/* ---- after */

static int check_path(const struct config *config, const char *section, const char *option, const char *path, int how, const char *user)
{
    if (path == NULL || faccessat(AT_FDCWD, path, how, AT_EACCESS) == 0)
        return 0;
    int r = -errno;
    log_error("%s: %s = %s: user %s cannot use it: %s%s", config_where(config, section, option), option, path, user, error_text(r),
              r == -EACCES ? ": change its permissions or those of a folder above it, or set `user`" : "");
    return r;
}

/* What is opened only later: better told now. */
static int check_paths(const struct config *c, const char *user)
{
    int r = check_path(c, "DEFAULT", "image_cache_dir", c->image_cache_dir, F_OK, user);
    if (r == 0 && strcmp(c->type, "file") == 0)
        r = check_path(c, "backend", "path", c->directory, R_OK | X_OK, user);
    if (r == 0)
        r = check_path(c, "backend", "ca_file", c->ca_file, R_OK, user);
    if (r == 0)
        r = check_path(c, "backend", "client_cert_file", c->client_cert_file, R_OK, user);
    if (r == 0)
        r = check_path(c, "backend", "client_key_file", c->client_key_file, R_OK, user);
    return r;
}

static int become_user(struct worker *w)
{
    char message[CONFIG_MESSAGE_MAX];
    struct service_user user;
    int r = service_user_find(w->config, &user, message);
    if (r == 0)
        r = privileges_drop(&user);
    else
        log_error("%s", message);
    if (r == 0 && (r = view_group_find(w->config, &w->view_group, message)) < 0)
        log_error("%s", message);
    return r == 0 ? check_paths(w->config, user.name) : r;
}

/* ---- starting */

/* In the background from here on. What goes wrong later stands in the system's log. */
static void detach(void)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int to = 0; fd >= 0 && to <= 2; to++)
        dup2(fd, to);
    if (fd > 2)
        close(fd);
    log_to_syslog("glance-cache-fs");
}

static int start(struct worker *w)
{
    int r = worker_open_parts(w);
    if (r == 0)
        r = worker_make_world(w);
    if (r < 0)
        return r;
    if (w->flags & LINK_DETACH)
        detach();
    r = worker_start_engine(w);
    return r < 0 ? r : worker_connect_kernel(w);
}

/* ---- serving, and the end */

static void stop(struct worker *w, bool hand_over)
{
    if (w->loop != NULL)
        fuse_loop_stop(w->loop, !hand_over);
    if (hand_over)
        fuse_world_hand_over(w->world);
    if (w->engine != NULL)
        engine_stop(w->engine);
    fuse_loop_free(w->loop);
    fuse_world_free(w->world);
    catalogue_close(w->catalogue);
    int r = w->damaged ? store_set_catalogue_aside(w->store, clock_now()) : 0;
    if (r < 0)
        log_errno(r, "the damaged catalogue %s cannot be set aside: move it away", store_catalogue_path(w->store));
    passthrough_free(w->passthrough);
    arrivals_close(w->arrivals);
    ledger_close(w->ledger);
    scratch_close(w->scratch);
    store_close(w->store);
    if (w->backend != NULL)
        w->ops->close(w->backend);
    config_free(w->config);
}

/* What the catalogue met. Another worker goes on in our place. */
static int leave_catalogue(struct worker *w, bool *ret_hand_over)
{
    int error = catalogue_trouble(w->catalogue);
    const char *path = store_catalogue_path(w->store);
    /* What a disk that works does not give is damage, too. */
    w->damaged = error == -EBADMSG || (error == -EIO && store_try(w->config->image_cache_dir) == 0);
    if (w->damaged) {
        log_warning("the catalogue %s turned out to be damaged: it is set aside and built anew from the files in the cache directory", path);
        return WORKER_AFRESH; /* a new one counts its rows from 1 again */
    }
    if (error == -ENODEV)
        log_error("the cache directory %s is not there any more: it was unmounted or moved away below the mount", w->config->image_cache_dir);
    else
        log_errno(error, "the catalogue %s cannot be used any more", path);
    *ret_hand_over = true;
    return WORKER_FAILED;
}

/* With the catalogue in memory: can the one on the disk be used again? What cannot be read on a disk that works is set aside. */
static bool is_back(struct worker *w)
{
    struct catalogue *c;
    const char *dir = w->config->image_cache_dir, *path = store_catalogue_path(w->store);
    if (!catalogue_is_memory(w->catalogue) || store_is_held(dir) < 0 || store_try(dir) < 0)
        return false;
    int r = catalogue_open(path, &c);
    if (r == 0)
        catalogue_close(c);
    w->damaged = r == -EIO || r == -EBADMSG;
    if (w->damaged)
        log_warning("the catalogue %s cannot be read: it is set aside and built anew from the files in the cache directory", path);
    else if (r == 0)
        log_notice("the cache directory %s can be used again", dir);
    return r == 0 || w->damaged;
}

/* Until the keeper says stop, or the connection ends. Returns the exit code; *ret_hand_over: another worker goes on. */
static int serve(struct worker *w, bool *ret_hand_over)
{
    struct pollfd fds[] = {{.fd = w->line->control_fd, .events = POLLIN}, {.fd = w->ended_fd, .events = POLLIN},
                           {.fd = w->trouble_fd, .events = POLLIN}};
    struct link_message message;
    int pause = catalogue_is_memory(w->catalogue) ? TRY_MS : -1;
    for (;;) {
        int n = poll(fds, 3, pause);
        if (n == 0 && is_back(w)) {
            *ret_hand_over = !w->damaged;
            return w->damaged ? WORKER_AFRESH : WORKER_FAILED;
        }
        if (n == 0)
            continue;
        if (n < 0 && errno != EINTR) {
            log_errno(-errno, "waiting for the keeper");
            return WORKER_FAILED;
        }
        if (fds[1].revents != 0)
            return WORKER_UNMOUNTED;
        if (fds[2].revents != 0)
            return leave_catalogue(w, ret_hand_over);
        if (fds[0].revents == 0)
            continue;
        if (link_receive(w->line->control_fd, true, &message, NULL, 0) < 0)
            return WORKER_FAILED; /* the keeper is gone, and with it the mount */
        if (message.type == LINK_STOP) {
            *ret_hand_over = message.flags & LINK_HAND_OVER;
            return WORKER_ENDED;
        }
    }
}

static int say(const struct worker *w, enum link_type type)
{
    struct link_message message = {.type = type};
    return link_send(w->line->control_fd, false, &message, NULL, 0);
}

static int prepare(struct worker *w)
{
    char copy[32];
    snprintf(copy, sizeof(copy), "/proc/self/fd/%d", w->line->config_fd);
    int r = load(w, copy);
    close(w->line->config_fd);
    if (r == 0)
        r = become_user(w);
    if (r == 0 && transfers_set_up() < 0)
        r = log_errno(-ENOMEM, "libcurl cannot be set up");
    return r;
}

static int wait_for_go(struct worker *w)
{
    struct link_message message;
    int fds[4];
    int r = say(w, LINK_PREPARED);
    if (r == 0)
        r = link_receive(w->line->control_fd, false, &message, fds, 4);
    if (r < 0 || message.type != LINK_GO)
        return r < 0 ? r : -EPROTO; /* the keeper went, or needs us no more */
    w->flags = message.flags;
    w->fuse_fd = fds[0];
    w->ledger_fd = fds[1];
    w->arrivals_fd = fds[2];
    w->backing_fd = fds[3];
    return 0;
}

/* An image that is open takes a descriptor, and what starts us (a shell, cron, mount(8)) often allows 1024 where the system allows more. */
static void raise_limit_of_files(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_errno(-errno, "the limit of open files cannot be raised to what is allowed");
}

int worker_run(const struct command_line *line)
{
    struct worker w = {.line = line, .fuse_fd = -1, .ledger_fd = -1, .arrivals_fd = -1, .backing_fd = -1};
    bool hand_over = false;
    prctl(PR_SET_NAME, "glance-cache-fs");
    if (!line->foreground)
        log_to_syslog("glance-cache-fs");
    umask(027);
    mallopt(M_ARENA_MAX, 2); /* memory freed by one thread is found again by the others */
    raise_limit_of_files();
    fuse_loop_prepare();
    w.ended_fd = eventfd(0, EFD_CLOEXEC);
    w.trouble_fd = eventfd(0, EFD_CLOEXEC);

    int code = WORKER_FAILED;
    int r = w.ended_fd < 0 || w.trouble_fd < 0 ? -errno : prepare(&w);
    if (r == 0)
        r = wait_for_go(&w);
    if (r == 0) {
        r = start(&w);
        code = r == -ENODEV ? WORKER_UNMOUNTED : r == -EBADMSG ? WORKER_AFRESH : WORKER_FAILED;
    }
    if (r == 0) {
        ledger_count(w.ledger, COUNT_WORKER_STARTS, 1);
        if (say(&w, LINK_READY) == 0)
            code = serve(&w, &hand_over);
    }
    stop(&w, hand_over);
    transfers_clean_up();
    return code;
}
