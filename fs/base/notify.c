/* SPDX-License-Identifier: Apache-2.0 */
/* sd_notify(3). No state, no lock. */
#include "config-auto.h"

#include "base/notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum { STATE_MAX = 512 };

void notify_tell(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET"); /* "/path", or "@name" of a socket without a file */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = path != NULL ? strlen(path) : 0;
    if (length < 2 || length >= sizeof(address.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, length);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
    close(fd);
}

void notify_ready(const char *status)
{
    char state[STATE_MAX];
    snprintf(state, sizeof(state), "READY=1\nMAINPID=%d\nSTATUS=%s", (int)getpid(), status);
    notify_tell(state);
}

void notify_reloading(void)
{
    char state[STATE_MAX];
    /* The time lets systemd tell this answer from one to an earlier SIGHUP. */
    snprintf(state, sizeof(state), "RELOADING=1\nMONOTONIC_USEC=%" PRIi64 "\nSTATUS=Another worker is being started",
             clock_monotonic() / 1000);
    notify_tell(state);
}

void notify_stopping(const char *status)
{
    char state[STATE_MAX];
    snprintf(state, sizeof(state), "STOPPING=1\nSTATUS=%s", status);
    notify_tell(state);
}
