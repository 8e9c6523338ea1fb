/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening, and what the library tells of connections and requests.
 *
 * One thread a connection: a call may block in the mount, and sendfile(2) does while an image is fetched. The stacks are small and touched
 * only where used, some 24 KiB; the library wipes a connection's buffer after each request, so that all of it counts.
 *
 * A request: new at its URI; its connection waits for it until headers and body are here; answered; done. A body is dropped as it
 * comes, unless the request is Glance's: then all of it is passed on as it comes.
 */
#include "config-auto.h"

#include "api/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/address.h"
#include "api/http/audit.h"
#include "api/http/connections.h"
#include "api/http/framing.h"
#include "api/relay/relay.h"
#include "base/log.h"

enum {
    STACK_BYTES = 512 * 1024,
    POOL_BYTES = 16 * 1024,
    ADMIT_FIRST = 64, /* the library may have so many more: on_accept() says no before it does, and counts it */
};

/* A server of the library, and its socket. One with a certificate of before serves the connections it has, and takes no more. */
struct serving {
    struct MHD_Daemon *daemon;
    int fd; /* a copy of the listening socket: the library closes it, unless the daemon was made quiet */
};

struct listener {
    struct api *api;
    char *address;
    int fd;
    struct serving now;
    struct serving *before;
    size_t before_count;
};

/* ---- the library's callbacks */

static struct connection *connection_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static int fd_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

static const struct sockaddr *peer_of_connection(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info != NULL ? info->client_addr : NULL;
}

static enum MHD_Result on_accept(void *context, const struct sockaddr *address, socklen_t length)
{
    struct api *api = context;
    (void)length;
    return connections_admit(api->connections, address) ? MHD_YES : MHD_NO;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct api *api = context;
    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        *socket_context = connection_begin(api->connections, fd_of(connection), peer_of_connection(connection));
    } else if (*socket_context != NULL) {
        connection_end(api->connections, *socket_context);
        *socket_context = NULL;
    }
}

static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct api *api = context;
    struct request *r = request_new(api, uri);
    if (r != NULL)
        r->connection = connection;
    return r;
}

/* Paths and arguments are decoded by request.c, which knows a '/' from a "%2F". */
static size_t do_not_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    (void)context, (void)connection;
    return strlen(text);
}

static void on_end(void *context, struct MHD_Connection *connection, void **request_context, enum MHD_RequestTerminationCode how)
{
    struct api *api = context;
    struct request *r = *request_context;
    struct connection *one = connection_of(connection);
    if (one != NULL)
        connection_waits(api->connections, one, true);
    if (r == NULL)
        return;
    bool whole = how == MHD_REQUEST_TERMINATED_COMPLETED_OK;
    uint64_t sent = 0;
    if (r->download > 0) {
        sent = whole ? r->download : connection_acked(fd_of(connection)) - r->acked_before;
        sent = sent < r->download ? sent : r->download;
        atomic_fetch_add(&api->counters.bytes_sent, sent);
        if (!whole)
            atomic_fetch_add(&api->counters.aborted, 1);
    }
    atomic_fetch_add(&api->counters.requests[r->status / 100 < 6 ? r->status / 100 : 5], 1);
    if (r->action != NULL)
        audit_write(api->audit, r, sent, whole);
    relay_free(r->relayed);
    log_debug("%s %.500s: %u%s", r->method != NULL ? r->method : "?", r->uri, r->status, whole ? "" : ", not to its end");
    request_free(r);
    *request_context = NULL;
}

__attribute__((format(printf, 2, 0))) static void on_log(void *context, const char *format, va_list args)
{
    char line[512];
    (void)context;
    vsnprintf(line, sizeof(line), format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http: %s", line);
}

/* ---- a request */

static enum MHD_Result take_header(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    (void)kind;
    framing_take(context, name, value);
    return MHD_YES;
}

/* From here on the time is not the client's. */
static void stop_waiting(struct request *r)
{
    struct connection *one = connection_of(r->connection);
    if (one != NULL)
        connection_waits(r->api->connections, one, false);
}

/* What can be said before the body: MHD_YES with r->refused when it was. */
static enum MHD_Result check_head(struct request *r, const char *version)
{
    struct framing framing = {0};
    MHD_get_connection_values(r->connection, MHD_HEADER_KIND, take_header, &framing);
    const char *wrong = framing_wrong(&framing, r->uri, strcmp(version, "HTTP/1.0") == 0);
    const char *length = wrong == NULL ? request_header(r, "Content-Length") : NULL;
    request_name(r);
    r->refused = true;
    r->close = wrong != NULL;
    if (wrong != NULL)
        return reply_error(r, 400, "%s", wrong);
    if (strlen(r->uri) > URI_MAX)
        return reply_error(r, 414, "a URI may be %d bytes long", URI_MAX);
    if (framing.bytes > HEADERS_MAX)
        return reply_error(r, 431, "the headers may be %d bytes long together", HEADERS_MAX);
    if (request_came_back(r))
        return reply_error(r, 508, "this request has come back to where it was: upstream, image_url or peers of this server, or of one behind it, lead here");
    r->refused = false;
    if (r->api->upstream != NULL && routes_pass_on(r)) {
        stop_waiting(r);
        return relay_begin(r, fd_of(r->connection));
    }
    r->refused = true;
    if (length != NULL && strtoull(length, NULL, 10) > BODY_MAX)
        return reply_error(r, 413, "no call takes a body; %d bytes are borne", BODY_MAX);
    r->refused = false;
    return MHD_YES;
}

static enum MHD_Result answer(struct request *r)
{
    stop_waiting(r);
    r->acked_before = connection_acked(fd_of(r->connection));
    enum MHD_Result result = r->body > BODY_MAX ? reply_error(r, 413, "no call takes a body; %d bytes are borne", BODY_MAX)
                                                : r->relayed != NULL    ? relay_answer(r)
                                                : routes_answer(r);
    relay_restart_timeout(r);
    return result;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                  const char *version, const char *upload, size_t *upload_size, void **request_context)
{
    struct request *r = *request_context;
    (void)context, (void)connection, (void)url;
    if (r == NULL)
        return MHD_NO;
    if (r->method == NULL) { /* the headers are here */
        r->method = method;
        return check_head(r, version);
    }
    if (*upload_size > 0) {
        size_t length = *upload_size;
        *upload_size = 0;
        if (r->relayed != NULL && !r->refused)
            return relay_piece(r, upload, length);
        r->body += length;
        return MHD_YES;
    }
    return r->refused ? MHD_YES : answer(r);
}

/* ---- listening */

static struct MHD_Daemon *serve(struct api *api, int fd, const char *cert, const char *key)
{
    const struct config_api *config = &api->config->api;
    unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL | MHD_USE_ITC | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, (void *)cert},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, (void *)key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)"NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"},
        {MHD_OPTION_END, 0, NULL},
    };
    if (cert == NULL)
        tls[0].option = MHD_OPTION_END;
    return MHD_start_daemon(
        flags | (cert != NULL ? MHD_USE_TLS : 0), 0, on_accept, api, on_request, api,
        MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, /* first, so that all is logged */
        MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_URI_LOG_CALLBACK, on_uri, api,
        MHD_OPTION_UNESCAPE_CALLBACK, do_not_unescape, NULL,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, api,
        MHD_OPTION_NOTIFY_COMPLETED, on_end, api,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)config->max_connections + ADMIT_FIRST,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)config->send_timeout,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)POOL_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)STACK_BYTES,
        MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_ARRAY, tls,
        MHD_OPTION_END);
}

static int begin(const struct listener *l, const char *cert, const char *key, struct serving *ret)
{
    int fd = fcntl(l->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return log_errno(-errno, "listening on %s", l->address);
    struct MHD_Daemon *daemon = serve(l->api, fd, cert, key);
    if (daemon == NULL) {
        log_error("cannot serve on %s%s; --debug tells more", l->address,
                  cert != NULL ? ": are tls_cert_file and tls_key_file PEM, and does the key belong to the certificate?" : "");
        close(fd);
        return -EINVAL;
    }
    *ret = (struct serving){.daemon = daemon, .fd = fd};
    return 0;
}

int listener_start(struct api *api, const char *address, bool loopback_only, const char *cert, const char *key, struct listener **ret)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    *l = (struct listener){.api = api, .fd = -1, .address = strdup(address)};
    int r = l->address == NULL ? -ENOMEM : address_listen(address, loopback_only, &l->fd);
    if (r == 0)
        r = begin(l, cert, key, &l->now);
    if (r < 0) {
        listener_stop(l);
        return r;
    }
    log_info("listening on %s%s", address, cert != NULL ? " (https)" : "");
    *ret = l;
    return 0;
}

int listener_renew(struct listener *l, const char *cert, const char *key)
{
    struct serving new;
    struct serving *before = realloc(l->before, (l->before_count + 1) * sizeof(*before));
    if (before == NULL)
        return -ENOMEM;
    l->before = before;
    int r = begin(l, cert, key, &new);
    if (r < 0)
        return r;
    MHD_quiesce_daemon(l->now.daemon);
    before[l->before_count++] = l->now;
    l->now = new;
    return 0;
}

void listener_tidy(struct listener *l)
{
    for (size_t i = 0; i < l->before_count;) {
        const union MHD_DaemonInfo *info = MHD_get_daemon_info(l->before[i].daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
        if (info != NULL && info->num_connections > 0) {
            i++;
            continue;
        }
        MHD_stop_daemon(l->before[i].daemon);
        close(l->before[i].fd);
        l->before[i] = l->before[--l->before_count];
    }
}

void listener_stop(struct listener *l)
{
    if (l == NULL)
        return;
    if (l->now.daemon != NULL)
        MHD_stop_daemon(l->now.daemon);
    for (size_t i = 0; i < l->before_count; i++) {
        MHD_stop_daemon(l->before[i].daemon);
        close(l->before[i].fd);
    }
    if (l->fd >= 0)
        close(l->fd);
    free(l->before);
    free(l->address);
    free(l);
}
