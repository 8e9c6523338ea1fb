/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3). No state, no lock. */
#include "config-auto.h"

#include "notify.h"

#include <inttypes.h>
#include <unistd.h>

#include "clock.h"

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#else
#define sd_notifyf(unset, ...) ((void)(unset))
#endif

void notify_ready(const char *status)
{
    (void)status;
    sd_notifyf(0, "READY=1\nMAINPID=%d\nSTATUS=%s", (int)getpid(), status);
}

void notify_reloading(void)
{
    /* The time lets systemd tell this answer from one to an earlier SIGHUP. */
    sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIi64 "\nSTATUS=Another worker is being started", clock_monotonic() / 1000);
}

void notify_stopping(const char *status)
{
    (void)status;
    sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}
