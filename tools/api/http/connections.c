/* SPDX-License-Identifier: Apache-2.0 */
/* The list of connections. */
#include "config-auto.h"

#include "api/http/connections.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "base/clock.h"

struct connection {
    int fd;
    int64_t since; /* waits for a request since; 0: works on one. Protected by the list's lock. */
    TAILQ_ENTRY(connection) link;
};

struct connections {
    pthread_mutex_t lock;
    TAILQ_HEAD(, connection) all; /* protected by lock */
    unsigned count;               /* protected by lock */
    int64_t patience;             /* ns */
};

struct connections *connections_new(uint64_t request_timeout)
{
    struct connections *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    TAILQ_INIT(&c->all);
    c->patience = (int64_t)request_timeout * NS_PER_S;
    return c;
}

void connections_free(struct connections *c)
{
    if (c != NULL)
        pthread_mutex_destroy(&c->lock);
    free(c);
}

struct connection *connection_begin(struct connections *c, int fd)
{
    struct connection *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return NULL;
    one->fd = fd;
    one->since = clock_monotonic();
    pthread_mutex_lock(&c->lock);
    TAILQ_INSERT_TAIL(&c->all, one, link);
    c->count++;
    pthread_mutex_unlock(&c->lock);
    return one;
}

void connection_end(struct connections *c, struct connection *one)
{
    pthread_mutex_lock(&c->lock);
    TAILQ_REMOVE(&c->all, one, link);
    c->count--;
    pthread_mutex_unlock(&c->lock);
    free(one);
}

void connection_waits(struct connections *c, struct connection *one, bool waits)
{
    pthread_mutex_lock(&c->lock);
    one->since = waits ? clock_monotonic() : 0;
    pthread_mutex_unlock(&c->lock);
}

unsigned connections_count(struct connections *c)
{
    pthread_mutex_lock(&c->lock);
    unsigned count = c->count;
    pthread_mutex_unlock(&c->lock);
    return count;
}

void connections_expire(struct connections *c)
{
    struct connection *one;
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&c->lock);
    TAILQ_FOREACH(one, &c->all, link) {
        if (one->since != 0 && now - one->since > c->patience) {
            shutdown(one->fd, SHUT_RDWR); /* its own thread closes it */
            one->since = 0;
        }
    }
    pthread_mutex_unlock(&c->lock);
}

uint64_t connection_acked(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    memset(&info, 0, sizeof(info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 ? info.tcpi_bytes_acked : 0;
}
