/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See http_server.h. The lock protects the lists of connections and requests; threads are joined when the server stops.
 */
#include "config-auto.h"

#include "http_server.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct connection {
    SLIST_ENTRY(connection) link;
    struct http_server *server;
    pthread_t thread;
    int fd;
};

struct seen {
    SLIST_ENTRY(seen) link;
    char *path, *text;
};

struct http_server {
    const struct http_handler *handlers;
    size_t handler_count;
    void *context;
    int listener;
    unsigned port;
    pthread_t thread;
    pthread_mutex_t lock;
    SLIST_HEAD(, connection) connections; /* protected by lock, as is all below */
    SLIST_HEAD(, seen) seen;              /* newest first */
    unsigned accepted;
};

/* ---- one connection */

/* Reads one request into the exchange. */
static bool read_request(struct http_exchange *exchange)
{
    size_t have = 0, need = sizeof exchange->text - 1;
    while (have < need) {
        ssize_t got = recv(exchange->fd, exchange->text + have, 1, 0);
        if (got <= 0) {
            return false;
        }
        have += (size_t)got;
        exchange->text[have] = '\0';
        char value[32];
        if (need == sizeof exchange->text - 1 && strstr(exchange->text, "\r\n\r\n")) {
            need = have + (http_header(exchange, "Content-Length", value, sizeof value) ? strtoul(value, NULL, 10) : 0);
            assert(need < sizeof exchange->text);
        }
    }
    return sscanf(exchange->text, "%15s %1023s", exchange->method, exchange->path) == 2;
}

static void remember(struct http_exchange *exchange)
{
    struct http_server *server = exchange->server;
    struct seen *seen = calloc(1, sizeof *seen);
    assert(seen);
    seen->path = strdup(exchange->path);
    seen->text = strdup(exchange->text);
    pthread_mutex_lock(&server->lock);
    SLIST_INSERT_HEAD(&server->seen, seen, link);
    pthread_mutex_unlock(&server->lock);
}

static bool dispatch(struct http_exchange *exchange)
{
    size_t length = strcspn(exchange->path, "?");
    for (size_t i = 0; i < exchange->server->handler_count; i++) {
        const struct http_handler *handler = &exchange->server->handlers[i];
        if (strlen(handler->path) == length && memcmp(handler->path, exchange->path, length) == 0) {
            return handler->serve(exchange);
        }
    }
    return http_sendf(exchange, "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\n%s",
                      strcmp(exchange->method, "HEAD") == 0 ? "" : "not here\n");
}

static void *serve_connection(void *argument)
{
    struct connection *connection = argument;
    struct http_exchange *exchange = calloc(1, sizeof *exchange);
    assert(exchange);
    exchange->server = connection->server;
    exchange->fd = connection->fd;
    bool keep = true;
    while (keep && read_request(exchange)) {
        remember(exchange);
        keep = dispatch(exchange);
    }
    free(exchange);
    shutdown(connection->fd, SHUT_RDWR); /* closed when the server stops, so that its number is not used again */
    return NULL;
}

static void *accept_connections(void *argument)
{
    struct http_server *server = argument;
    int fd;
    while ((fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = calloc(1, sizeof *connection);
        assert(connection);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        connection->server = server;
        connection->fd = fd;
        pthread_mutex_lock(&server->lock);
        SLIST_INSERT_HEAD(&server->connections, connection, link);
        server->accepted++;
        int r = pthread_create(&connection->thread, NULL, serve_connection, connection);
        assert(r == 0);
        pthread_mutex_unlock(&server->lock);
    }
    return NULL;
}

/* ---- the server */

struct http_server *http_server_start(const struct http_handler *handlers, size_t count, void *context)
{
    struct http_server *server = calloc(1, sizeof *server);
    assert(server);
    server->handlers = handlers;
    server->handler_count = count;
    server->context = context;
    pthread_mutex_init(&server->lock, NULL);
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int r = bind(server->listener, (struct sockaddr *)&address, length);
    assert(r == 0);
    r = listen(server->listener, 64);
    assert(r == 0);
    getsockname(server->listener, (struct sockaddr *)&address, &length);
    server->port = ntohs(address.sin_port);
    r = pthread_create(&server->thread, NULL, accept_connections, server);
    assert(r == 0);
    return server;
}

void http_server_stop(struct http_server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    struct connection *connection;
    SLIST_FOREACH(connection, &server->connections, link) {
        shutdown(connection->fd, SHUT_RDWR);
    }
    while ((connection = SLIST_FIRST(&server->connections))) {
        pthread_join(connection->thread, NULL);
        SLIST_REMOVE_HEAD(&server->connections, link);
        close(connection->fd);
        free(connection);
    }
    struct seen *seen;
    while ((seen = SLIST_FIRST(&server->seen))) {
        SLIST_REMOVE_HEAD(&server->seen, link);
        free(seen->path);
        free(seen->text);
        free(seen);
    }
    pthread_mutex_destroy(&server->lock);
    free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}

void *http_server_context(const struct http_server *server)
{
    return server->context;
}

unsigned http_server_connections(struct http_server *server)
{
    pthread_mutex_lock(&server->lock);
    unsigned accepted = server->accepted;
    pthread_mutex_unlock(&server->lock);
    return accepted;
}

unsigned http_server_requests(struct http_server *server, const char *path)
{
    unsigned count = 0;
    const struct seen *seen;
    pthread_mutex_lock(&server->lock);
    SLIST_FOREACH(seen, &server->seen, link) {
        count += strcmp(seen->path, path) == 0;
    }
    pthread_mutex_unlock(&server->lock);
    return count;
}

char *http_server_request(struct http_server *server, const char *path)
{
    char *text = NULL;
    const struct seen *seen;
    pthread_mutex_lock(&server->lock);
    SLIST_FOREACH(seen, &server->seen, link) {
        if (strcmp(seen->path, path) == 0) {
            text = strdup(seen->text);
            break;
        }
    }
    pthread_mutex_unlock(&server->lock);
    return text;
}

/* ---- for handlers */

bool http_send(struct http_exchange *exchange, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        ssize_t sent = send(exchange->fd, at, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        at += sent;
        length -= (size_t)sent;
    }
    return true;
}

bool http_sendf(struct http_exchange *exchange, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    bool sent = http_send(exchange, text, (size_t)length);
    free(text);
    return sent;
}

const char *http_header(const struct http_exchange *exchange, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    for (const char *line = strstr(exchange->text, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':') {
            const char *start = line + 2 + length + 1;
            start += strspn(start, " ");
            snprintf(value, size, "%.*s", (int)strcspn(start, "\r"), start);
            return value;
        }
    }
    return NULL;
}

void http_wait_for_client(struct http_exchange *exchange)
{
    char byte;
    while (recv(exchange->fd, &byte, 1, 0) > 0) {
    }
}
