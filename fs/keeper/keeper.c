/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's life.
 *
 * Start: a first worker is started and reads configuration and secrets; only when it is PREPARED, which shows that the
 * configuration is good, the cache directory is locked and given to the worker's user, and the mount made; then the
 * worker is told to go.
 *
 * Then events, one at a time: a worker says something or dies, a signal comes, the mount goes. After each, keeper_advance()
 * does what there is to do: a worker that died is replaced; one that is to be replaced (SIGHUP, SIGUSR2) is told to
 * stop when the next is PREPARED; the next is told to go when the one before is gone, so that the catalogue never has
 * two writers. Meanwhile the kernel keeps all requests.
 */
#include "config-auto.h"

#include "keeper/keeper.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "keeper/private.h"
#include "process/link.h"

enum {
    REAP_MS = 30,   /* between a worker's socket being closed and its end */
    WHY_MAX = 2200, /* a line of the log */
};

/* ---- a worker's end */

static const char *describe_end(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(text, size, "was killed by signal %d (%s)", WTERMSIG(status), sigdescr_np(WTERMSIG(status)));
    else
        snprintf(text, size, "ended with code %d", WEXITSTATUS(status));
    return text;
}

/* Nobody asked it to end. Says when the next may start, or gives up. */
static void count_death(struct keeper *k, const struct child *c, int status)
{
    char how[80];
    int64_t now = clock_monotonic(), delay;
    struct death death = {
        .lived = now - c->since,
        .served = c->served,
        .answered = ledger_counter(k->ledger, COUNT_ANSWERS) != c->answers,
        .by_hand = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
    };

    describe_end(status, how, sizeof(how));
    if (!deaths_count(&k->deaths, &death, &delay)) {
        log_error("worker %d %s, the %uth in a row that served nothing: %s is unmounted; the lines above tell why, mount again when "
                  "that is mended", (int)c->pid, how, k->deaths.early, k->path);
        keeper_give_up(k, 1);
        return;
    }
    k->restart_at = now + delay;
    log_warning("worker %d %s; another one goes on in its place", (int)c->pid, how);
}

static void current_ended(struct keeper *k, int status)
{
    struct child c = k->current;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    k->current = (struct child){.state = CHILD_NONE, .control_fd = -1, .backing_fd = -1};

    if (code == WORKER_UNMOUNTED)
        k->unmounted = true;
    if (k->ending || k->unmounted) {
        k->ending = true;
        child_kill(&k->next); /* there is nothing left to take over */
    } else if (!k->ready && !WIFSIGNALED(status)) {
        keeper_give_up(k, 1); /* it said why */
    } else if (c.state == CHILD_STOPPING) {
        k->restart_at = 0;
    } else if (code == WORKER_AFRESH) {
        k->afresh = true;
        k->restart_at = 0;
    } else {
        count_death(k, &c, status);
    }
    child_forget(&c);
}

static void say_not_started(struct keeper *k)
{
    char why[PATH_MAX + 200];
    snprintf(why, sizeof(why), "the new worker could not be started, the old one goes on: the log says why, and so may glance-cache-fs --check %s",
             k->config_path);
    keeper_not_replaced(k, why);
}

/* It never went: the old one goes on, or (when that is gone) another is started of the edition in force. */
static void next_ended(struct keeper *k, int status)
{
    struct child c = k->next;
    k->next = (struct child){.state = CHILD_NONE, .control_fd = -1, .backing_fd = -1};
    if (!k->ready && (!k->told_go || !WIFSIGNALED(status))) { /* if it was not killed it said why */
        char how[80];
        if (WIFSIGNALED(status) && !k->ending)
            log_error("worker %d %s before anything was mounted", (int)c.pid, describe_end(status, how, sizeof(how)));
        keeper_give_up(k, 1);
    } else if (!k->ending && c.edition != k->edition) {
        log_error("the new worker could not be started: the old one, with its configuration, stays in force");
        say_not_started(k);
    } else if (!k->ending) {
        count_death(k, &c, status);
    }
    child_forget(&c);
}

/*
 * Has C ended? A thread of a dead worker may sleep in the kernel, beyond any signal, until a request is answered that
 * only another worker answers (see fuse_io_part_descriptors()): then the process stays, but its descriptors are closed,
 * and none of its threads ever runs again. Such a one counts as killed, and is left to itself.
 */
static bool has_ended(struct keeper *k, const struct child *c, int *ret_status)
{
    if (c->state == CHILD_NONE)
        return false;
    if (waitpid(c->pid, ret_status, WNOHANG) == c->pid)
        return true;
    if (c->gone_at == 0 || clock_monotonic() - c->gone_at < REAP_MS * NS_PER_MS)
        return false;
    kill(c->pid, SIGKILL);
    for (size_t i = 0; i < KEEPER_GHOSTS; i++) {
        if (k->ghosts[i] == 0) {
            k->ghosts[i] = c->pid;
            break;
        }
    }
    *ret_status = SIGKILL; /* as waitpid() would say it */
    return true;
}

static void reap(struct keeper *k)
{
    int status;
    if (has_ended(k, &k->current, &status))
        current_ended(k, status);
    if (has_ended(k, &k->next, &status))
        next_ended(k, status);
    for (size_t i = 0; i < KEEPER_GHOSTS; i++) {
        if (k->ghosts[i] != 0 && waitpid(k->ghosts[i], NULL, WNOHANG) != 0)
            k->ghosts[i] = 0;
    }
}

/* ---- signals */

static void end_by_signal(struct keeper *k, uint32_t number)
{
    if (k->ending)
        return;
    log_info("%s: %s is unmounted", sigdescr_np((int)number), k->path);
    notify_stopping("Unmounting");
    /* First of all nobody finds the mount any more; who has a file open is served until the worker has ended. */
    mount_down(k->mount);
    k->mount = NULL;
    keeper_give_up(k, 0);
}

/* Another worker, with the configuration (or the program) that is on disk now. */
static void replace(struct keeper *k, bool program)
{
    struct edition *edition;
    if (k->ending)
        return;
    if (!k->ready || k->next.state != CHILD_NONE || k->current.state != CHILD_SERVING) {
        *(program ? &k->again_program : &k->again_config) = true;
        return;
    }
    char why[WHY_MAX] = "";
    notify_reloading();
    control_begun(k->control, program);
    log_keep_error(why, sizeof(why));
    int r = program ? edition_upgrade(k->edition, k->program_path, &edition) : edition_reload(k->edition, k->config_path, &edition);
    if (r == 0) {
        log_notice("a worker with %s is being started", program ? "the program now on disk" : "the configuration as it is now");
        k->asked = edition;
        keeper_start_next(k, edition);
    }
    log_keep_error(NULL, 0);
    if (r < 0 || k->next.state == CHILD_NONE) { /* said already */
        log_error("the old worker, with its configuration, stays in force");
        keeper_not_replaced(k, why);
    }
}

/* What was asked for meanwhile, one after the other: a new program takes over the configuration that is in force. */
static void replace_again(struct keeper *k)
{
    while ((k->again_config || k->again_program) && k->ready && k->next.state == CHILD_NONE && k->current.state == CHILD_SERVING && !k->ending) {
        bool *asked = k->again_config ? &k->again_config : &k->again_program;
        *asked = false;
        replace(k, asked == &k->again_program);
    }
}

static void take_signals(struct keeper *k)
{
    struct signalfd_siginfo info;
    while (read(k->signal_fd, &info, sizeof(info)) == sizeof(info)) {
        switch (info.ssi_signo) {
        case SIGINT:
        case SIGTERM:
            end_by_signal(k, info.ssi_signo);
            break;
        case SIGHUP:
        case SIGUSR2:
            replace(k, info.ssi_signo == SIGUSR2);
            break;
        default:
            break; /* SIGCHLD: reap() looks anyway */
        }
    }
}

/* ---- events */

static int milliseconds_to(int64_t when)
{
    int64_t left = when - clock_monotonic();
    return left <= 0 ? 0 : left > INT_MAX * (NS_PER_MS / 2) ? INT_MAX / 2 : (int)((left + NS_PER_MS - 1) / NS_PER_MS);
}

static int time_out(const struct keeper *k)
{
    const struct child *gone = k->current.gone_at != 0 ? &k->current : &k->next;
    if (gone->gone_at != 0)
        return milliseconds_to(gone->gone_at + REAP_MS * NS_PER_MS);
    if (k->current.kill_at != 0)
        return milliseconds_to(k->current.kill_at);
    if (k->absent_at != 0)
        return milliseconds_to(k->absent_at);
    if (!k->ending && k->current.state == CHILD_NONE && k->next.state == CHILD_NONE)
        return milliseconds_to(k->restart_at);
    return -1;
}

static void hear(struct keeper *k, struct child *c)
{
    while (c->control_fd >= 0 && child_hear(c)) {
        if (c->state == CHILD_SERVING)
            keeper_now_serving(k);
    }
}

static void serve_backings(struct keeper *k)
{
    int r;
    while ((r = backings_serve(k->backings, k->current.backing_fd)) == 0)
        continue;
    if (r != -EAGAIN) { /* the worker is gone, or does not keep to the rules */
        close(k->current.backing_fd);
        k->current.backing_fd = -1;
        if (r != -EPIPE)
            child_kill(&k->current);
    }
}

static void serve_requests(struct keeper *k)
{
    bool program;
    while (control_serve(k->control, &program) > 0)
        replace(k, program);
}

enum { EVENT_SIGNAL, EVENT_CURRENT, EVENT_NEXT, EVENT_BACKING, EVENT_KERNEL, EVENT_REQUEST, EVENT_MOUNTS, EVENTS };

static void wait_for_events(struct keeper *k)
{
    struct pollfd fds[EVENTS] = {
        [EVENT_SIGNAL] = {.fd = k->signal_fd, .events = POLLIN},
        [EVENT_CURRENT] = {.fd = k->current.state != CHILD_NONE ? k->current.control_fd : -1, .events = POLLIN},
        [EVENT_NEXT] = {.fd = k->next.state != CHILD_NONE ? k->next.control_fd : -1, .events = POLLIN},
        [EVENT_BACKING] = {.fd = k->current.backing_fd, .events = POLLIN},
        [EVENT_REQUEST] = {.fd = control_fd(k->control), .events = POLLIN},
        [EVENT_MOUNTS] = {.fd = k->mounts_fd, .events = POLLPRI},
        [EVENT_KERNEL] = {.fd = k->unmounted || k->ending ? -1 : k->fuse_fd, .events = 0}, /* POLLERR: unmounted */
    };
    if (poll(fds, EVENTS, time_out(k)) < 0) {
        if (errno != EINTR)
            log_errno(-errno, "waiting for events");
        return;
    }
    if (fds[EVENT_BACKING].revents != 0)
        serve_backings(k);
    if (fds[EVENT_CURRENT].revents != 0)
        hear(k, &k->current);
    if (fds[EVENT_NEXT].revents != 0)
        hear(k, &k->next);
    if (fds[EVENT_KERNEL].revents & (POLLERR | POLLHUP | POLLNVAL)) {
        k->unmounted = true; /* a worker that serves sees it, too, and ends in order */
        if (k->current.state != CHILD_GOING && k->current.state != CHILD_SERVING)
            keeper_give_up(k, 0);
    }
    if (fds[EVENT_SIGNAL].revents != 0)
        take_signals(k);
    if (fds[EVENT_REQUEST].revents != 0)
        serve_requests(k);
    if (fds[EVENT_MOUNTS].revents != 0)
        absence_look(k);
    absence_say(k);
}

static bool is_over(const struct keeper *k)
{
    return k->ending && k->current.state == CHILD_NONE && k->next.state == CHILD_NONE;
}

static void run(struct keeper *k)
{
    while (!is_over(k)) {
        keeper_advance(k);
        replace_again(k);
        wait_for_events(k);
        reap(k);
        if (k->current.kill_at != 0 && clock_monotonic() >= k->current.kill_at)
            child_kill(&k->current);
    }
}

/* ---- start and end */

/* Waits until the first worker is PREPARED: the configuration is good. */
static int await_prepared(struct keeper *k)
{
    if (child_spawn(k, k->edition, &k->next) < 0)
        return -EAGAIN;
    while (k->next.state == CHILD_STARTING && !k->ending) {
        wait_for_events(k);
        reap(k);
    }
    return k->next.state == CHILD_PREPARED && !k->ending ? 0 : -ECANCELED; /* it said why */
}

static void tear_down(struct keeper *k)
{
    child_kill(&k->next);
    while (k->next.state != CHILD_NONE && waitpid(k->next.pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    child_forget(&k->next);
    keeper_take_down(k);
    control_free(k->control);
    edition_unref(k->asked);
    edition_unref(k->edition);
    if (k->lock_fd >= 0)
        close(k->lock_fd);
    if (k->signal_fd >= 0)
        close(k->signal_fd);
    if (k->mounts_fd >= 0)
        close(k->mounts_fd);
    free(k->program_path);
    free(k->config_path);
    free(k->path);
}

int keeper_run(const struct command_line *line, int ready_fd)
{
    struct keeper k = {.line = line, .ready_fd = ready_fd, .signal_fd = -1, .lock_fd = -1, .fuse_fd = -1, .ledger_fd = -1, .arrivals_fd = -1, .mounts_fd = -1};
    k.current.control_fd = k.current.backing_fd = k.next.control_fd = k.next.backing_fd = -1;
    int r = keeper_set_up(&k);
    if (r == 0)
        r = await_prepared(&k);
    if (r == 0)
        r = keeper_mount_first(&k);
    if (r == 0)
        run(&k);
    if (k.ready)
        notify_stopping("Unmounted");
    tear_down(&k);
    return r < 0 ? 1 : k.exit_code;
}
