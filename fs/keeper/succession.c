/* SPDX-License-Identifier: Apache-2.0 */
/* Who serves, and who follows: the next worker, from its start to the moment it serves. One thread; no lock. */
#include "config-auto.h"

#include "keeper/private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "fuse/io.h"

enum {
    HAND_OVER_MS = 120,    /* a worker that is to hand over and takes longer is killed: nothing is lost by that but time */
    STOP_MS = 60 * 1000,   /* at the end */
    SPAWN_AGAIN_MS = 5000, /* when no process could be had */
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

void keeper_give_up(struct keeper *k, int exit_code)
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
        keeper_give_up(k, 1);
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

void keeper_start_next(struct keeper *k, struct edition *edition)
{
    if (child_spawn(k, edition, &k->next) < 0)
        k->restart_at = clock_monotonic() + SPAWN_AGAIN_MS * NS_PER_MS;
}

/* Tells the service manager that all is as it should be. */
static void tell_ready(const struct keeper *k)
{
    char text[PATH_MAX + 64];
    snprintf(text, sizeof(text), "%s is mounted, worker %d serves it", k->path, (int)k->current.pid);
    notify_ready(text);
}

/* Forgets what was asked for; true: it was EDITION. */
static bool was_asked_for(struct keeper *k, const struct edition *edition)
{
    bool was = k->asked == edition;
    edition_unref(k->asked);
    k->asked = NULL;
    return was;
}

void keeper_not_replaced(struct keeper *k, const char *why)
{
    was_asked_for(k, NULL);
    control_ended(k->control, why);
    tell_ready(k);
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

static void listen_for_requests(struct keeper *k)
{
    int r = mount_device(k->mount, k->device);
    if (r == 0)
        r = control_listen(k->control, k->device);
    if (r < 0)
        log_warning("--reload and --upgrade will not find this mount, SIGHUP and SIGUSR2 do: %s", error_text(r));
}

void keeper_now_serving(struct keeper *k)
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
    listen_for_requests(k);
    tell_ready(k);
    if (k->asked != NULL)
        control_ended(k->control, was_asked_for(k, k->edition) ? NULL : "the new worker ended at once, as the log tells: the old edition goes on");
    k->ready = true;
}

void keeper_advance(struct keeper *k)
{
    if (k->ending)
        return;
    if (k->current.state == CHILD_NONE && k->next.state == CHILD_NONE && clock_monotonic() >= k->restart_at)
        keeper_start_next(k, k->edition);
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
