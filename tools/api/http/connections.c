/* SPDX-License-Identifier: Apache-2.0 */
/* The list of connections, and of the addresses that have some. */
#include "config-auto.h"

#include "api/http/connections.h"

#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <uthash.h>

#include "api/http/peer.h"
#include "base/clock.h"
#include "base/log.h"

struct address {
    struct peer client;
    unsigned count;
    UT_hash_handle hh;
};

struct connection {
    int fd;
    struct peer peer;
    struct address *address; /* NULL: no memory, or not of the internet. All below protected by the list's lock. */
    int64_t since;           /* waits for a request since; 0: works on one */
    int64_t slow_since;      /* had bytes ready since; 0: not when it was last looked at */
    uint64_t slow_acked;     /* what was taken at that time */
    TAILQ_ENTRY(connection) link;
};

struct connections {
    const struct config_api *config;
    pthread_mutex_t lock;
    TAILQ_HEAD(, connection) all;  /* protected by lock, as all below */
    struct address *addresses;
    struct connections_count count;
    int64_t told; /* when something was refused and logged last */
};

struct connections *connections_new(const struct config_api *config)
{
    struct connections *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    TAILQ_INIT(&c->all);
    c->config = config;
    return c;
}

void connections_free(struct connections *c)
{
    if (c != NULL)
        pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- who may come */

/* Also where more than there are was configured for one address, a quarter is left for others. */
static unsigned share(const struct config_api *config)
{
    uint64_t others = config->max_connections / 4;
    uint64_t most = config->max_connections - (others > 0 ? others : 1);
    return (unsigned)(config->max_connections_per_address < most ? config->max_connections_per_address : most);
}

static unsigned count_of_locked(struct connections *c, const struct peer *client)
{
    struct address *a;
    HASH_FIND(hh, c->addresses, client, sizeof(*client), a);
    return a != NULL ? a->count : 0;
}

bool connections_admit(struct connections *c, const struct sockaddr *address)
{
    struct peer peer, client;
    char text[PEER_TEXT] = "?";
    bool known = peer_of(address, &peer);
    bool limited = known && c->config->max_connections_per_address > 0 &&
                   !peer_listed(&peer, c->config->trusted_proxies, c->config->trusted_proxy_count);
    if (known) {
        client = peer_client(&peer);
        peer_text(&client, text);
    }
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&c->lock);
    bool full = c->count.now >= c->config->max_connections;
    bool greedy = !full && limited && count_of_locked(c, &client) >= share(c->config);
    bool tell = (full || greedy) && (c->told == 0 || now - c->told > 60 * NS_PER_S);
    if (full || greedy)
        c->count.refused++;
    if (tell)
        c->told = now;
    pthread_mutex_unlock(&c->lock);
    if (tell && full)
        log_warning("refused a connection from %s: there are max_connections = %llu already; more refusals are counted in /metrics", text,
                    (unsigned long long)c->config->max_connections);
    else if (tell)
        log_warning("refused a connection from %s, which has %u already, its share (max_connections_per_address; a proxy that brings many "
                    "clients belongs in trusted_proxies); more refusals are counted in /metrics", text, share(c->config));
    return !full && !greedy;
}

static struct address *enter_locked(struct connections *c, const struct peer *client)
{
    struct address *a;
    HASH_FIND(hh, c->addresses, client, sizeof(*client), a);
    if (a == NULL) {
        a = calloc(1, sizeof(*a));
        if (a == NULL)
            return NULL;
        a->client = *client;
        HASH_ADD(hh, c->addresses, client, sizeof(a->client), a);
    }
    a->count++;
    return a;
}

struct connection *connection_begin(struct connections *c, int fd, const struct sockaddr *address)
{
    struct connection *one = calloc(1, sizeof(*one));
    if (one == NULL)
        return NULL;
    one->fd = fd;
    one->since = clock_monotonic();
    bool known = peer_of(address, &one->peer);
    struct peer client = peer_client(&one->peer);
    pthread_mutex_lock(&c->lock);
    if (known)
        one->address = enter_locked(c, &client);
    TAILQ_INSERT_TAIL(&c->all, one, link);
    c->count.now++;
    pthread_mutex_unlock(&c->lock);
    return one;
}

void connection_end(struct connections *c, struct connection *one)
{
    pthread_mutex_lock(&c->lock);
    TAILQ_REMOVE(&c->all, one, link);
    c->count.now--;
    if (one->address != NULL && --one->address->count == 0) {
        HASH_DEL(c->addresses, one->address);
        free(one->address);
    }
    pthread_mutex_unlock(&c->lock);
    free(one);
}

void connection_waits(struct connections *c, struct connection *one, bool waits)
{
    pthread_mutex_lock(&c->lock);
    one->since = waits ? clock_monotonic() : 0;
    one->slow_since = 0;
    pthread_mutex_unlock(&c->lock);
}

struct connections_count connections_count(struct connections *c)
{
    pthread_mutex_lock(&c->lock);
    struct connections_count count = c->count;
    pthread_mutex_unlock(&c->lock);
    return count;
}

/* ---- who has been too slow */

/* Bytes that were sent and not confirmed, or not even sent for want of room at the other side. */
static bool has_bytes_ready(int fd)
{
    int bytes = 0;
    return ioctl(fd, SIOCOUTQ, &bytes) == 0 && bytes > 0;
}

/* Has it taken too little of its answer for send_timeout? */
static bool takes_too_little_locked(struct connections *c, struct connection *one, int64_t now)
{
    if (!has_bytes_ready(one->fd)) {
        one->slow_since = 0;
        return false;
    }
    uint64_t acked = connection_acked(one->fd);
    int64_t span = now - one->slow_since;
    if (one->slow_since != 0 && span < (int64_t)c->config->send_timeout * NS_PER_S)
        return false;
    bool slow = one->slow_since != 0 && acked - one->slow_acked < c->config->send_rate * (uint64_t)(span / NS_PER_S);
    one->slow_since = now;
    one->slow_acked = acked;
    return slow;
}

void connections_expire(struct connections *c)
{
    struct connection *one;
    char text[PEER_TEXT] = "";
    int64_t now = clock_monotonic();
    pthread_mutex_lock(&c->lock);
    TAILQ_FOREACH(one, &c->all, link) {
        bool late = one->since != 0 && now - one->since > (int64_t)c->config->request_timeout * NS_PER_S;
        bool slow = one->since == 0 && c->config->send_rate > 0 && takes_too_little_locked(c, one, now);
        if (!late && !slow)
            continue;
        shutdown(one->fd, SHUT_RDWR); /* its own thread closes it */
        one->since = late ? INT64_MAX : 0;
        c->count.slow++;
        if (slow)
            peer_text(&one->peer, text);
    }
    pthread_mutex_unlock(&c->lock);
    if (text[0] != '\0')
        log_info("disconnected %s: it takes less of its answer than send_rate = %llu bytes a second", text,
                 (unsigned long long)c->config->send_rate);
}

uint64_t connection_acked(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof(info);
    memset(&info, 0, sizeof(info));
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) == 0 ? info.tcpi_bytes_acked : 0;
}
