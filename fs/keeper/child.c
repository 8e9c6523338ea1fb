/* SPDX-License-Identifier: Apache-2.0 */
/* The workers' processes: started, told to go, to stop, heard. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper/private.h"
#include "process/link.h"

/* Between fork and exec. CONTROL and the copy of the configuration are the only descriptors that go over. */
static void exec_worker(const struct keeper *k, const struct edition *edition, int control)
{
    char fds[48];
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    unsetenv("NOTIFY_SOCKET");
    int oom = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (oom >= 0 && write(oom, k->oom_score, strlen(k->oom_score)) < 0)
        errno = 0; /* it keeps the keeper's then */
    fcntl(control, F_SETFD, 0);
    fcntl(edition->config_fd, F_SETFD, 0);
    snprintf(fds, sizeof(fds), "%d:%d:%d", LINK_VERSION, control, edition->config_fd);
    const char *argv[8] = {"glance-cache-fs", "--worker", fds};
    size_t n = 3;
    if (k->line->foreground || !k->ready) /* there is somebody who sees standard error */
        argv[n++] = "-f";
    if (k->line->debug)
        argv[n++] = "-d";
    argv[n++] = k->config_path;
    argv[n] = k->path;
    fexecve(edition->program_fd, (char *const *)(uintptr_t)argv, environ);
    log_errno(-errno, "the worker cannot be started from %s", k->program_path);
    _exit(WORKER_FAILED);
}

int child_spawn(struct keeper *k, struct edition *edition, struct child *ret)
{
    int ends[2];
    int r = link_pair(ends);
    if (r < 0)
        return log_errno(r, "a worker cannot be started");
    pid_t pid = fork();
    if (pid == 0)
        exec_worker(k, edition, ends[1]);
    r = pid < 0 ? -errno : 0;
    close(ends[1]);
    if (r < 0) {
        close(ends[0]);
        return log_errno(r, "a worker cannot be started");
    }
    *ret = (struct child){.state = CHILD_STARTING, .pid = pid, .control_fd = ends[0], .backing_fd = -1, .edition = edition_ref(edition),
                          .since = clock_monotonic()};
    return 0;
}

int child_go(struct keeper *k, struct child *c)
{
    struct link_message message = {.type = LINK_GO};
    int ends[2];
    int r = link_pair(ends);
    if (r < 0)
        return log_errno(r, "the worker cannot be told to go");
    message.flags = (k->line->allow_other ? LINK_ALLOW_OTHER : 0) | (k->line->allow_root ? LINK_ALLOW_ROOT : 0) |
                    (k->line->foreground ? 0 : LINK_DETACH) |
                    (geteuid() == 0 ? LINK_PASSTHROUGH : 0);
    r = link_send(c->control_fd, true, &message, (int[]){k->fuse_fd, k->ledger_fd, k->arrivals_fd, ends[1]}, 4);
    close(ends[1]);
    if (r < 0) {
        close(ends[0]);
        return r == -EPIPE ? r : log_errno(r, "the worker cannot be told to go");
    }
    c->backing_fd = ends[0];
    c->state = CHILD_GOING;
    c->since = clock_monotonic();
    c->answers = ledger_counter(k->ledger, COUNT_ANSWERS);
    return 0;
}

void child_stop(struct child *c, bool hand_over, int64_t patience_ms)
{
    struct link_message message = {.type = LINK_STOP, .flags = hand_over ? LINK_HAND_OVER : 0};
    if (c->state == CHILD_STOPPING) /* it saves what it has already: only give it the time */
        goto patience;
    if (c->state != CHILD_GOING && c->state != CHILD_SERVING) {
        child_kill(c);
        return;
    }
    if (link_send(c->control_fd, true, &message, NULL, 0) < 0)
        child_kill(c);
    c->state = CHILD_STOPPING;
patience:
    c->kill_at = patience_ms > 0 ? clock_monotonic() + patience_ms * NS_PER_MS : 0;
}

void child_kill(struct child *c)
{
    if (c->state != CHILD_NONE)
        kill(c->pid, SIGKILL);
    c->kill_at = 0;
}

bool child_hear(struct child *c)
{
    struct link_message message;
    int r = link_receive(c->control_fd, true, &message, NULL, 0);
    if (r == -EAGAIN)
        return false;
    if (r < 0) { /* its process ends, or does not keep to the rules */
        if (r != -EPIPE)
            child_kill(c);
        close(c->control_fd);
        c->control_fd = -1;
        c->gone_at = clock_monotonic();
        return false;
    }
    if (message.type == LINK_PREPARED && c->state == CHILD_STARTING) {
        c->state = CHILD_PREPARED;
        return true;
    }
    if (message.type == LINK_READY && c->state == CHILD_GOING) {
        c->state = CHILD_SERVING;
        c->served = true;
        return true;
    }
    return false;
}

void child_forget(struct child *c)
{
    if (c->control_fd >= 0)
        close(c->control_fd);
    if (c->backing_fd >= 0)
        close(c->backing_fd);
    edition_unref(c->edition);
    *c = (struct child){.state = CHILD_NONE, .control_fd = -1, .backing_fd = -1};
}
