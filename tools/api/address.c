/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets to listen on. No state. */
#include "config-auto.h"

#include "api/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"

enum { BACKLOG = 1024 };

static bool is_loopback(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
    return a->sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

/* "host:port" or "[host]:port". */
static bool split_address(const char *address, char *host, size_t size, const char **ret_port)
{
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || colon[1] == '\0')
        return false;
    const char *start = address;
    size_t length = (size_t)(colon - address);
    if (start[0] == '[' && start[length - 1] == ']') {
        start++;
        length -= 2;
    } else if (memchr(start, ':', length) != NULL) {
        return false;
    }
    if (length == 0 || length >= size)
        return false;
    memcpy(host, start, length);
    host[length] = '\0';
    *ret_port = colon + 1;
    return true;
}

static int bind_to(const struct addrinfo *a, int *ret_fd)
{
    int one = 1;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
    if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

static const char *why_not(int error)
{
    switch (-error) {
    case EADDRINUSE:
        return "another program listens there already (ss -ltnp says which): end it, or name another port";
    case EACCES:
        return "ports below 1024 are root's: name a higher one, and put nginx in front (glance-cache-api.nginx)";
    case EADDRNOTAVAIL:
        return "this machine has no such address: ip address lists those it has";
    default:
        return strerror(-error);
    }
}

static int cannot_listen(const char *address, int error, const char *why)
{
    log_error("cannot listen as option listen = %s says: %s", address, why);
    return error;
}

int address_listen(const char *address, bool loopback_only, int *ret_fd)
{
    char host[256];
    const char *port;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    if (!split_address(address, host, sizeof(host), &port))
        return cannot_listen(address, -EINVAL, "expected address:port, an IPv6 address in brackets");
    int gai = getaddrinfo(host, port, &hints, &found);
    if (gai != 0)
        return cannot_listen(address, -EINVAL, gai_strerror(gai));
    int r;
    if (loopback_only && !is_loopback(found->ai_addr)) {
        log_error("listen = %s with auth = none would let everyone who reaches this address manage the cache: listen on 127.0.0.1 or "
                  "[::1], or set auth to token or keystone", address);
        r = -EPERM;
    } else {
        r = bind_to(found, ret_fd);
        if (r < 0)
            cannot_listen(address, r, why_not(r));
    }
    freeaddrinfo(found);
    return r;
}
