/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's end of its socket: who asks, for what, and how far that is. */
#include "config-auto.h"

#include "keeper/control.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

enum { CLIENTS_MAX = 16, ANSWER_MAX = 3000 };

/* One who asks: WAITING until control_begun(). */
struct client {
    int fd; /* -1: none */
    bool program;
    enum { SILENT, WAITING, UNDER_WAY } state;
};

struct control {
    int events, socket; /* socket -1: not yet */
    char device[32];
    struct client clients[CLIENTS_MAX];
};

int control_new(struct control **ret)
{
    struct control *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return -ENOMEM;
    c->socket = -1;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    c->events = epoll_create1(EPOLL_CLOEXEC);
    if (c->events < 0) {
        int r = -errno;
        free(c);
        return r;
    }
    *ret = c;
    return 0;
}

static void leave(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd); /* and out of the events */
    *client = (struct client){.fd = -1};
}

void control_free(struct control *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < CLIENTS_MAX; i++)
        leave(&c->clients[i]);
    if (c->socket >= 0)
        close(c->socket);
    close(c->events);
    free(c);
}

int control_fd(const struct control *c)
{
    return c != NULL ? c->events : -1;
}

/* CLIENT NULL: the socket that is listened on. */
static int watch(struct control *c, int fd, struct client *client)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    return epoll_ctl(c->events, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int bind_to(int fd, const char *device)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    uint64_t random;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        return -EIO;
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "glance-cache-fs/%s/%016" PRIx64, device, random);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);
    return bind(fd, (const struct sockaddr *)&address, size) < 0 || listen(fd, CLIENTS_MAX) < 0 ? -errno : 0;
}

int control_listen(struct control *c, const char *device)
{
    if (c == NULL || (c->socket >= 0 && strcmp(c->device, device) == 0))
        return 0;
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int r = fd < 0 ? -errno : bind_to(fd, device);
    if (r == 0)
        r = watch(c, fd, NULL);
    if (r < 0) {
        if (fd >= 0)
            close(fd);
        return r;
    }
    if (c->socket >= 0)
        close(c->socket);
    c->socket = fd;
    snprintf(c->device, sizeof(c->device), "%s", device);
    return 0;
}

static void answer(int fd, const char *why)
{
    char text[ANSWER_MAX];
    int length = snprintf(text, sizeof(text), why == NULL ? "done" : "failed: %s", why);
    size_t size = (size_t)length < sizeof(text) ? (size_t)length : sizeof(text) - 1;
    if (send(fd, text, size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        errno = 0; /* he does not wait any more */
}

/* Is it root, or who we are ourselves? */
static bool may_ask(int fd)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

/* False: there was nobody. */
static bool let_in(struct control *c)
{
    int fd = accept4(c->socket, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct client *client = c->clients;
    if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
        return errno != EAGAIN;
    if (fd < 0) { /* without descriptors he would be let in for ever: who comes after the next worker began is */
        log_errno(-errno, "--reload and --upgrade are not listened for until another worker serves");
        close(c->socket);
        c->socket = -1;
        return false;
    }
    while (client < c->clients + CLIENTS_MAX && client->fd >= 0)
        client++;
    const char *why = !may_ask(fd)                         ? "only root and the user who mounted may ask for this"
                      : client == c->clients + CLIENTS_MAX ? "too many ask at once: try again"
                      : watch(c, fd, client) < 0           ? "there is no memory"
                                                           : NULL;
    if (why != NULL) {
        answer(fd, why);
        close(fd);
    } else {
        *client = (struct client){.fd = fd};
    }
    return true;
}

/* 1: CLIENT asks. */
static int hear(struct client *client)
{
    char text[16];
    ssize_t n = recv(client->fd, text, sizeof(text) - 1, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    text[n > 0 ? n : 0] = '\0';
    bool reload = strcmp(text, "reload") == 0, upgrade = strcmp(text, "upgrade") == 0;
    if (client->state != SILENT || (!reload && !upgrade)) { /* he went, or does not keep to the rules */
        leave(client);
        return 0;
    }
    client->program = upgrade;
    client->state = WAITING;
    return 1;
}

int control_serve(struct control *c, bool *ret_program)
{
    struct epoll_event event;
    while (c != NULL && epoll_wait(c->events, &event, 1, 0) == 1) {
        struct client *client = event.data.ptr;
        if (client == NULL && !let_in(c))
            return 0;
        if (client != NULL && hear(client) > 0) {
            *ret_program = client->program;
            return 1;
        }
    }
    return 0;
}

void control_begun(struct control *c, bool program)
{
    for (size_t i = 0; c != NULL && i < CLIENTS_MAX; i++) {
        struct client *client = &c->clients[i];
        if (client->fd >= 0 && client->state == WAITING && client->program == program)
            client->state = UNDER_WAY;
    }
}

void control_ended(struct control *c, const char *why)
{
    for (size_t i = 0; c != NULL && i < CLIENTS_MAX; i++) {
        struct client *client = &c->clients[i];
        if (client->fd < 0 || client->state != UNDER_WAY)
            continue;
        answer(client->fd, why);
        leave(client);
    }
}
