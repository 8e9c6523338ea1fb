/* SPDX-License-Identifier: Apache-2.0 */
/* Who asks a keeper: finds the mount, its device, and the socket for it that is of the right user. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "keeper/control.h"
#include "keeper/mountpoint.h"

enum { ANSWER_MAX = 4096 };

/* The name of a socket in LINE of /proc/net/unix, if it begins with PREFIX; NULL. Cuts LINE. */
static const char *name_in(char *line, const char *prefix)
{
    line[strcspn(line, "\n")] = '\0';
    const char *name = strchr(line, '@');
    return name != NULL && strncmp(name + 1, prefix, strlen(prefix)) == 0 ? name + 1 : NULL;
}

/* A connection to the socket NAME, of root's or of OWNER's. */
static int connect_to(const char *name, long long owner)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct ucred peer;
    socklen_t size = sizeof(peer);
    size_t length = strlen(name);
    if (length >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    memcpy(address.sun_path + 1, name, length);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    /* A stranger's, which takes nobody, is not waited for. */
    int r = connect(fd, (const struct sockaddr *)&address, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + length)) < 0 ? -errno : 0;
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        r = -errno;
    if (r == 0 && peer.uid != 0 && peer.uid != owner)
        r = -EPERM;
    if (r < 0) {
        close(fd);
        return r;
    }
    fcntl(fd, F_SETFL, 0); /* from here on it may take its time */
    return fd;
}

/* -ENOENT: nobody listens for this mount, or strangers only. */
static int find_keeper(const struct mountinfo *m)
{
    char prefix[64], *line = NULL;
    size_t size = 0;
    int fd = -ENOENT;
    FILE *file = fopen("/proc/net/unix", "re");
    if (file == NULL)
        return -errno;
    snprintf(prefix, sizeof(prefix), "glance-cache-fs/%s/", m->device);
    while (fd < 0 && getline(&line, &size, file) > 0) {
        const char *name = name_in(line, prefix);
        if (name != NULL)
            fd = connect_to(name, m->owner);
    }
    free(line);
    fclose(file);
    return fd < 0 ? -ENOENT : fd;
}

/* Why nobody listens. */
static void say_why(const char *point, bool program)
{
    struct statfs st;
    if (statfs(point, &st) < 0 && errno == ENOTCONN)
        log_error("%s is mounted, but the process that served it has ended: unmount it (umount -l) and mount again", point);
    else
        log_error("%s: the process that keeps this mount does not listen: it is of a version without --%s (send it SIG%s), or in another "
                  "container", point, program ? "upgrade" : "reload", program ? "USR2" : "HUP");
}

static int exchange(int fd, const char *point, bool program)
{
    const char *text = program ? "upgrade" : "reload";
    char answer[ANSWER_MAX];
    ssize_t n = send(fd, text, strlen(text), MSG_NOSIGNAL);
    while (n >= 0 && (n = recv(fd, answer, sizeof(answer) - 1, 0)) < 0 && errno == EINTR)
        continue;
    if (n <= 0) {
        log_error("%s: the mount ended meanwhile; the log says why", point);
        return -EPIPE;
    }
    answer[n] = '\0';
    if (strcmp(answer, "done") == 0)
        return 0;
    log_error("%s: %s", point, strncmp(answer, "failed: ", 8) == 0 ? answer + 8 : answer);
    return -EIO;
}

int control_ask(const char *point, bool program)
{
    char *path = NULL;
    struct mountinfo m;
    int r = mountpoint_find(point, &path, &m);
    if (r < 0)
        return r;
    int fd = mountinfo_is_ours(&m) ? find_keeper(&m) : -EINVAL;
    if (!mountinfo_is_ours(&m)) {
        log_error("%s is no mount of glance-cache-fs%s%s", path, *m.type != '\0' ? ", but of type " : "", m.type);
        r = -EINVAL;
    } else if (geteuid() != 0 && m.owner != (long long)geteuid()) {
        log_error("%s: only root and user %lld, who mounted it, may ask for this", path, m.owner);
        r = -EPERM;
    } else if (fd < 0) {
        say_why(path, program);
        r = fd;
    } else {
        r = exchange(fd, path, program);
    }
    if (fd >= 0)
        close(fd);
    mountinfo_clear(&m);
    free(path);
    return r;
}
