/* SPDX-License-Identifier: Apache-2.0 */
/* Messages between keeper and worker. No state, no lock. */
#include "config-auto.h"

#include "process/link.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union ancillary {
    struct cmsghdr header;
    char room[CMSG_SPACE(LINK_FDS_MAX * sizeof(int))];
};

int link_pair(int ret_fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ret_fds) < 0 ? -errno : 0;
}

int link_send(int fd, bool nowait, const struct link_message *message, const int *fds, unsigned count)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = sizeof(*message)};
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
    union ancillary ancillary = {.room = {0}};
    assert(count <= LINK_FDS_MAX);
    if (count > 0) {
        m.msg_control = ancillary.room;
        m.msg_controllen = CMSG_SPACE(count * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    }
    ssize_t n;
    while ((n = sendmsg(fd, &m, MSG_NOSIGNAL | (nowait ? MSG_DONTWAIT : 0))) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    return 0;
}

/* More than LINK_FDS_MAX may fit, by alignment. */
enum { FDS_ROOM = sizeof(union ancillary) / sizeof(int) };

/* The descriptors that came; returns how many. */
static unsigned take_fds(struct msghdr *m, int fds[FDS_ROOM])
{
    unsigned count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        memcpy(fds, CMSG_DATA(c), count * sizeof(int));
    }
    return count;
}

int link_receive(int fd, bool nowait, struct link_message *ret, int *ret_fds, unsigned count)
{
    struct link_message message;
    struct iovec part = {.iov_base = &message, .iov_len = sizeof(message)};
    union ancillary ancillary;
    struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = ancillary.room, .msg_controllen = sizeof(ancillary.room)};
    int fds[FDS_ROOM];
    ssize_t n;
    while ((n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC | (nowait ? MSG_DONTWAIT : 0))) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    if (n == 0)
        return -EPIPE;
    unsigned came = take_fds(&m, fds);
    if (n != sizeof(message) || came != count || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
        while (came > 0)
            close(fds[--came]);
        return -EPROTO;
    }
    if (count > 0)
        memcpy(ret_fds, fds, count * sizeof(int));
    *ret = message;
    return 0;
}

int link_peek(int fd, enum link_type *ret)
{
    struct link_message message;
    ssize_t n;
    while ((n = recv(fd, &message, sizeof(message), MSG_PEEK | MSG_DONTWAIT)) < 0 && errno == EINTR)
        continue;
    if (n < 0)
        return errno == ECONNRESET ? -EPIPE : -errno;
    if (n == 0)
        return -EPIPE;
    if (n != sizeof(message))
        return -EPROTO;
    *ret = message.type;
    return 0;
}
