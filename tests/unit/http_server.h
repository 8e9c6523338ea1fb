/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A web server on loopback that misbehaves on demand. A request's path is looked up in a table of handlers; a handler
 * writes whatever it likes to the connection. Each connection has a thread; requests are counted and remembered.
 */
#ifndef GCFS_TEST_HTTP_SERVER_H
#define GCFS_TEST_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_server;

struct http_exchange { /* one request, valid in its handler */
    struct http_server *server;
    int fd;
    char text[16384]; /* "GET /x HTTP/1.1\r\n…\r\n\r\n" and as much of the body as has a Content-Length */
    char method[16], path[1024];
};

struct http_handler {
    const char *path;                      /* the part before a '?' */
    bool (*serve)(struct http_exchange *); /* true: the connection is kept */
};

struct http_server *http_server_start(const struct http_handler *handlers, size_t count, void *context);
void http_server_stop(struct http_server *server); /* ends every connection */
unsigned http_server_port(const struct http_server *server);
void *http_server_context(const struct http_server *server);
unsigned http_server_connections(struct http_server *server); /* accepted so far */
unsigned http_server_requests(struct http_server *server, const char *path);
/* The newest request of PATH, as text; free() it. NULL: there was none. */
char *http_server_request(struct http_server *server, const char *path);

/* For handlers. */
bool http_send(struct http_exchange *exchange, const void *data, size_t length);
bool http_sendf(struct http_exchange *exchange, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* NULL: the request has no such header. */
const char *http_header(const struct http_exchange *exchange, const char *name, char *value, size_t size);
void http_wait_for_client(struct http_exchange *exchange); /* until it hangs up, or the server stops */

#endif
