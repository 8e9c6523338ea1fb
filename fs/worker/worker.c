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

#include "worker/worker.h"

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

#include "backends/backend.h"
#include "base/clock.h"
#include "base/log.h"
#include "catalogue/catalogue.h"
#include "engine/engine.h"
#include "fuse/io.h"
#include "fuse/loop.h"
#include "fuse/passthrough.h"
#include "fuse/session.h"
#include "process/ledger.h"
#include "process/link.h"
#include "process/privileges.h"
#include "store/scratch.h"
#include "store/store.h"

enum { THREADS = 8, TRY_MS = 2000 };

struct worker {
    const struct command_line *line;
    struct config *config;
    const struct backend_ops *ops;
    struct backend *backend; /* until the engine has it */
    gid_t view_group;
    uint32_t flags;          /* of GO */
    int fuse_fd, ledger_fd, arrivals_fd, backing_fd;
    int ended_fd; /* an eventfd: the connection to the kernel has ended */
    int trouble_fd; /* an eventfd: the catalogue cannot be used any more */
    bool damaged;   /* so that it is set aside at the end */
    struct store *store;
    struct scratch *scratch; /* NULL: none */
    struct catalogue *catalogue;
    struct ledger *ledger;
    struct arrivals *arrivals;
    struct fuse_world *world;
    struct engine *engine;
    struct passthrough *passthrough;
    struct fuse_loop *loop;
};

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

/* A mount that is not new: the kernel knows inodes by the catalogue's row ids. */
static bool mount_is_old(struct ledger *ledger)
{
    unsigned char init[LEDGER_INIT_MAX];
    uint64_t agreed;
    return ledger_get_init(ledger, init, sizeof(init), &agreed) > 0;
}

/*
 * The disk of the cache directory cannot be used. The mount goes on without it: what is not in the cache, or cannot be read there, is served
 * straight through. Not where it never worked: who mounts is told then.
 */
static bool goes_without(const struct worker *w, int error)
{
    bool wrong = error == -ENOMEM || error == -EISDIR || error == -EACCES || error == -EPERM; /* no disk does that */
    return mount_is_old(w->ledger) ? !wrong : error == -ENOSPC || error == -EDQUOT || error == -EIO;
}

static int open_memory(struct worker *w, int error)
{
    int r = catalogue_open_memory(store_catalogue_path(w->store), &w->catalogue);
    if (r < 0)
        return log_errno(r, "no catalogue can be made in memory");
    log_warning("the cache directory %s cannot be used (%s): its images are served as far as %s, and all others straight "
                "through, without being kept; it is looked at again every %d s", w->config->image_cache_dir, error_text(error),
                r > 0 ? "they can be read" : "their files tell what they are", TRY_MS / 1000);
    return 0;
}

static int open_catalogue(struct worker *w)
{
    const char *path = store_catalogue_path(w->store);
    bool old = mount_is_old(w->ledger);
    int r = old ? catalogue_reopen(path, &w->catalogue) : catalogue_open(path, &w->catalogue);
    if (r < 0 && r != -EBADMSG && r != -EPROTONOSUPPORT && goes_without(w, r))
        return open_memory(w, r);
    if (r == -EPROTONOSUPPORT) {
        log_error("%s was written by a newer glance-cache-fs: use that one, or move the file away to have it built anew", path);
        return r;
    }
    if (r != -EBADMSG)
        return r < 0 ? log_errno(r, "the catalogue %s cannot be opened", path) : 0;

    log_warning("the catalogue %s is damaged: it is set aside and built anew from the files in the cache directory", path);
    r = store_set_catalogue_aside(w->store, clock_now());
    if (r < 0)
        return log_errno(r, "the damaged catalogue %s cannot be set aside: move it away", path);
    if (old)
        return -EBADMSG; /* a new one counts its rows from 1 again: the mount must be made afresh */
    r = catalogue_open(path, &w->catalogue);
    return r < 0 ? log_errno(r, "a new catalogue %s cannot be made", path) : 0;
}

static int open_parts(struct worker *w)
{
    int r = ledger_open(w->ledger_fd, &w->ledger);
    if (r == 0)
        r = arrivals_open(w->arrivals_fd, &w->arrivals);
    if (r < 0)
        return log_errno(r == -EBADMSG ? -EPROTO : r, "the memory shared with the keeper cannot be used");
    r = mount_is_old(w->ledger) ? store_is_held(w->config->image_cache_dir) : 0;
    if (r == 0)
        r = store_open(w->config->image_cache_dir, &w->store);
    if (r < 0 && goes_without(w, r) && store_open_lost(w->config->image_cache_dir, &w->store) == 0)
        return open_memory(w, r);
    if (r < 0)
        return log_errno(r, "%s: the cache directory %s cannot be used", config_where(w->config, "DEFAULT", "image_cache_dir"),
                         w->config->image_cache_dir);
    return open_catalogue(w);
}

static int make_world(struct worker *w)
{
    catalogue_watch(w->catalogue, w->trouble_fd);
    enum fuse_users users = w->flags & LINK_ALLOW_ROOT ? FUSE_FOR_ROOT : w->flags & LINK_ALLOW_OTHER ? FUSE_FOR_ALL : FUSE_FOR_OWNER;
    int r = fuse_world_new(w->ledger, users, w->line->debug, &w->world);
    if (r < 0)
        return log_errno(r, "the file system cannot be set up");
    unsigned views = config_views(w->config);
    if (views & VIEW_GLANCE && (r = scratch_open(w->config->image_cache_dir, &w->scratch)) < 0)
        log_errno(r, "%s: what Glance writes into glance/ cannot be kept in %s/.glance", config_where(w->config, "DEFAULT", "views"),
                  w->config->image_cache_dir);
    fuse_world_shows(w->world, views, w->config->image_cache_sqlite_db, w->scratch);
    fuse_world_belongs(w->world, w->view_group, w->config->view_mode == VIEW_FOR_ALL ? 0777 : w->config->view_mode == VIEW_FOR_GROUP ? 0770 : 0700);
    return 0;
}

static int start_engine(struct worker *w)
{
    struct engine_parts parts = {.config = w->config, .ops = w->ops, .backend = w->backend, .catalogue = w->catalogue,
                                 .store = w->store, .ledger = w->ledger, .arrivals = w->arrivals,
                                 .notify = fuse_world_notify(w->world)};
    w->backend = NULL;
    int r = engine_start(&parts, &w->engine);
    return r < 0 ? log_errno(r, "the engine cannot be started") : 0;
}

static const char *why_no_passthrough(const struct worker *w)
{
    if (w->config->passthrough == PASSTHROUGH_OFF)
        return "off: passthrough = off";
    if (!(w->flags & LINK_PASSTHROUGH))
        return "off: not started by root";
    return "off: the kernel does not offer it (Linux 6.9)";
}

static int trouble(void *context)
{
    return catalogue_trouble(context);
}

static int connect_kernel(struct worker *w)
{
    bool want = w->config->passthrough == PASSTHROUGH_AUTO && (w->flags & LINK_PASSTHROUGH);
    struct fuse_session *session = fuse_world_session(w->world);
    fuse_io_watch(trouble, w->catalogue);
    int r = fuse_io_attach(session, w->fuse_fd, w->ledger, want);
    if (r < 0)
        return log_errno(r, "the connection to the kernel cannot be used");
    r = fuse_loop_init(session);
    if (r < 0)
        return r;
    if (fuse_io_passthrough()) {
        w->passthrough = passthrough_new(w->backing_fd, w->ledger);
        if (w->passthrough == NULL)
            return log_errno(-ENOMEM, "passthrough cannot be set up");
        w->backing_fd = -1;
    }
    fuse_world_start(w->world, w->engine, w->catalogue, w->passthrough, why_no_passthrough(w));
    r = fuse_loop_start(session, THREADS, w->ended_fd, &w->loop);
    return r < 0 ? log_errno(r, "the threads that serve the mount cannot be started") : 0;
}

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
    int r = open_parts(w);
    if (r == 0)
        r = make_world(w);
    if (r < 0)
        return r;
    if (w->flags & LINK_DETACH)
        detach();
    r = start_engine(w);
    return r < 0 ? r : connect_kernel(w);
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
