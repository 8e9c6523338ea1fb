/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's life.
 *
 * Start: a first worker is started and reads configuration and secrets; only when it is PREPARED, which shows that the
 * configuration is good, the cache directory is locked and given to the worker's user, and the mount made; then the
 * worker is told to go.
 *
 * Then events, one at a time: a worker says something or dies, a signal comes, the mount goes. After each, advance()
 * does what there is to do: a worker that died is replaced; one that is to be replaced (SIGHUP, SIGUSR2) is told to
 * stop when the next is PREPARED; the next is told to go when the one before is gone, so that the catalogue never has
 * two writers. Meanwhile the kernel keeps all requests.
 */
#include "config-auto.h"

#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
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
#include "fuse/io.h"
#include "keeper/private.h"
#include "process/link.h"

enum {
    HAND_OVER_MS = 120,        /* a worker that is to hand over and takes longer is killed: nothing is lost by that but time */
    STOP_MS = 60 * 1000,       /* at the end */
    AT_ONCE_MS = 1000,         /* a worker that lived shorter died at once */
    EARLY_DEATHS_MAX = 8,      /* without serving anything */
    EARLY_DELAY_MS = 10, EARLY_DELAY_MAX_MS = 5000,
    REAP_MS = 30,              /* between a worker's socket being closed and its end */
    QUICK_DEATHS_FREE = 3, QUICK_DELAY_MAX_MS = 100,
};

/* ---- the mount */

/* Can another worker go on with this mount where the one before ended? */
static bool can_go_on(struct keeper *k)
{
    unsigned char init[LEDGER_INIT_MAX];
    uint64_t agreed;
    size_t length = ledger_get_init(k->ledger, init, sizeof(init), &agreed);
    return length == 0 ? !k->told_go : fuse_io_can_resend(init, length);
}

static int mount_afresh(struct keeper *k)
{
    k->afresh = k->told_go = false;
    log_notice("%s is unmounted and mounted afresh; files that were open give errors", k->path);
    keeper_take_down(k);
    int r = mount_new(k->line, k->config_path, &k->mount);
    return r == 0 ? keeper_put_up(k) : r;
}

/* ---- workers */

static void give_up(struct keeper *k, int exit_code)
{
    k->ending = true;
    k->exit_code = exit_code;
    child_kill(&k->next);
    if (k->current.state != CHILD_NONE)
        child_stop(&k->current, false, STOP_MS);
}

/* The next worker becomes the one that serves. */
static void promote(struct keeper *k)
{
    struct ledger *now; /* with the handles as they are now */
    if ((k->afresh || !can_go_on(k)) && mount_afresh(k) < 0) {
        give_up(k, 1);
        return;
    }
    if (ledger_open(k->ledger_fd, &now) == 0) {
        backings_sweep(k->backings, now);
        ledger_close(now);
    }
    k->current = k->next;
    k->next = (struct child){.state = CHILD_NONE, .control_fd = -1, .backing_fd = -1};
    k->told_go = true;
    if (child_go(k, &k->current) < 0)
        child_kill(&k->current);
}

static void start_next(struct keeper *k, struct edition *edition)
{
    if (child_spawn(k, edition, &k->next) < 0)
        k->restart_at = clock_monotonic() + EARLY_DELAY_MAX_MS * NS_PER_MS;
}

static void told_ready(struct keeper *k)
{
    char text[PATH_MAX + 64];
    snprintf(text, sizeof(text), "%s is mounted, worker %d serves it", k->path, (int)k->current.pid);
    notify_ready(text);
}

/* Leaves the terminal to who waits for us. */
static void detach(struct keeper *k)
{
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int to = 0; fd >= 0 && to <= 2; to++)
        dup2(fd, to);
    if (fd > 2)
        close(fd);
    if (chdir("/") < 0)
        errno = 0; /* it only keeps a folder busy */
    log_to_syslog("glance-cache-fs");
    if (write(k->ready_fd, "", 1) < 0)
        errno = 0; /* nobody waits any more */
    close(k->ready_fd);
    k->ready_fd = -1;
}

static void now_serving(struct keeper *k)
{
    int64_t now = clock_monotonic();
    if (k->ready_fd >= 0)
        detach(k);
    edition_ref(k->current.edition);
    edition_unref(k->edition);
    k->edition = k->current.edition;
    log_set_level(k->line->debug ? LOG_DEBUG : log_level_by_name(k->edition->config->log_level));
    if (k->handed_over_at != 0)
        log_notice("worker %d serves %s now; the hand-over took %" PRIi64 " ms", (int)k->current.pid, k->path,
                   (now - k->handed_over_at) / NS_PER_MS);
    else if (!k->ready)
        log_info("%s is mounted", k->path);
    else
        log_notice("worker %d serves %s now", (int)k->current.pid, k->path);
    k->handed_over_at = 0;
    mount_read_ahead(k->mount);
    told_ready(k);
    k->ready = true;
}

static void advance(struct keeper *k)
{
    if (k->ending)
        return;
    if (k->current.state == CHILD_NONE && k->next.state == CHILD_NONE && clock_monotonic() >= k->restart_at)
        start_next(k, k->edition);
    if (k->next.state != CHILD_PREPARED)
        return;
    if (k->current.state == CHILD_NONE) {
        promote(k);
    } else if (k->current.state == CHILD_SERVING) {
        bool resend = can_go_on(k);
        k->handed_over_at = clock_monotonic();
        child_stop(&k->current, resend, resend ? HAND_OVER_MS : STOP_MS);
    }
}

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
    int64_t delay = 0, lived = clock_monotonic() - c->since;
    bool at_once = lived < AT_ONCE_MS * NS_PER_MS;
    bool served = c->served && ledger_counter(k->ledger, COUNT_ANSWERS) != c->answers;
    bool by_hand = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

    describe_end(status, how, sizeof(how));
    if (!c->served || (at_once && !served && !by_hand)) {
        k->early_deaths++;
        delay = EARLY_DELAY_MS << (k->early_deaths - 1);
        delay = delay < EARLY_DELAY_MAX_MS ? delay : EARLY_DELAY_MAX_MS;
    } else {
        k->early_deaths = 0;
        k->quick_deaths = at_once ? k->quick_deaths + 1 : 0;
        if (k->quick_deaths > QUICK_DEATHS_FREE)
            delay = k->quick_deaths < QUICK_DELAY_MAX_MS / EARLY_DELAY_MS ? k->quick_deaths * EARLY_DELAY_MS : QUICK_DELAY_MAX_MS;
    }
    if (k->early_deaths >= EARLY_DEATHS_MAX) {
        log_error("worker %d %s, the %uth in a row that served nothing: %s is unmounted; the lines above tell why, mount again when "
                  "that is mended", (int)c->pid, how, k->early_deaths, k->path);
        give_up(k, 1);
        return;
    }
    k->restart_at = clock_monotonic() + delay * NS_PER_MS;
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
        give_up(k, 1); /* it said why */
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

/* It never went: the old one goes on, or (when that is gone) another is started of the edition in force. */
static void next_ended(struct keeper *k, int status)
{
    struct child c = k->next;
    k->next = (struct child){.state = CHILD_NONE, .control_fd = -1, .backing_fd = -1};
    if (!k->ready && (!k->told_go || !WIFSIGNALED(status))) { /* if it was not killed it said why */
        char how[80];
        if (WIFSIGNALED(status) && !k->ending)
            log_error("worker %d %s before anything was mounted", (int)c.pid, describe_end(status, how, sizeof(how)));
        give_up(k, 1);
    } else if (!k->ending && c.edition != k->edition) {
        log_error("the new worker could not be started: the old one, with its configuration, stays in force");
        told_ready(k);
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
    give_up(k, 0);
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
    notify_reloading();
    int r = program ? edition_upgrade(k->edition, k->program_path, &edition) : edition_reload(k->edition, k->config_path, &edition);
    if (r < 0) {
        log_error("the old worker, with its configuration, stays in force");
        told_ready(k);
        return;
    }
    log_notice("a worker with %s is being started", program ? "the program now on disk" : "the configuration as it is now");
    start_next(k, edition);
    edition_unref(edition);
    if (k->next.state == CHILD_NONE) { /* no process could be had; said already */
        log_error("the old worker stays in force");
        told_ready(k);
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
    if (!k->ending && k->current.state == CHILD_NONE && k->next.state == CHILD_NONE)
        return milliseconds_to(k->restart_at);
    return -1;
}

static void hear(struct keeper *k, struct child *c)
{
    while (c->control_fd >= 0 && child_hear(c)) {
        if (c->state == CHILD_SERVING)
            now_serving(k);
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

enum { EVENT_SIGNAL, EVENT_CURRENT, EVENT_NEXT, EVENT_BACKING, EVENT_KERNEL, EVENTS };

static void wait_for_events(struct keeper *k)
{
    struct pollfd fds[EVENTS] = {
        [EVENT_SIGNAL] = {.fd = k->signal_fd, .events = POLLIN},
        [EVENT_CURRENT] = {.fd = k->current.state != CHILD_NONE ? k->current.control_fd : -1, .events = POLLIN},
        [EVENT_NEXT] = {.fd = k->next.state != CHILD_NONE ? k->next.control_fd : -1, .events = POLLIN},
        [EVENT_BACKING] = {.fd = k->current.backing_fd, .events = POLLIN},
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
            give_up(k, 0);
    }
    if (fds[EVENT_SIGNAL].revents != 0)
        take_signals(k);
}

static bool is_over(const struct keeper *k)
{
    return k->ending && k->current.state == CHILD_NONE && k->next.state == CHILD_NONE;
}

static void run(struct keeper *k)
{
    while (!is_over(k)) {
        advance(k);
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
    edition_unref(k->edition);
    if (k->lock_fd >= 0)
        close(k->lock_fd);
    if (k->signal_fd >= 0)
        close(k->signal_fd);
    free(k->program_path);
    free(k->config_path);
    free(k->path);
}

int keeper_run(const struct command_line *line, int ready_fd)
{
    struct keeper k = {.line = line, .ready_fd = ready_fd, .signal_fd = -1, .lock_fd = -1, .fuse_fd = -1, .ledger_fd = -1, .arrivals_fd = -1};
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
