/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount was taken away, and is in use all the same: somebody has a file open, or another mount namespace (a container's, a service's with
 * private mounts) was made while it was there and has it still. Then it is served until that ends, and who unmounted is told why.
 */
#include "config-auto.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "keeper/private.h"

enum { PATIENCE_MS = 1000 }; /* a mount that nobody uses ends a moment after it is taken away */

void absence_watch(struct keeper *k)
{
    k->mounts_fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
}

static bool is_there(const struct keeper *k)
{
    char *path = NULL;
    struct mountinfo m;
    if (mountpoint_find(k->path, &path, &m) < 0)
        return true; /* said already; nothing is known */
    bool there = mountinfo_is_ours(&m) && strcmp(m.device, k->device) == 0;
    mountinfo_clear(&m);
    free(path);
    return there;
}

static bool is_wanted(const struct keeper *k)
{
    return k->ready && !k->unmounted && !k->ending && k->device[0] != '\0';
}

void absence_look(struct keeper *k)
{
    if (k->absent_at == 0 && is_wanted(k) && !is_there(k))
        k->absent_at = clock_monotonic() + PATIENCE_MS * NS_PER_MS;
}

void absence_say(struct keeper *k)
{
    if (k->absent_at == 0 || k->absent_said || clock_monotonic() < k->absent_at)
        return;
    k->absent_at = 0;
    if (!is_wanted(k) || is_there(k))
        return;
    k->absent_said = true;
    log_notice("%s is unmounted, and served on for who has files open there, or for a mount namespace made meanwhile (a container's) that "
               "has it still", k->path);
}
