/* SPDX-License-Identifier: Apache-2.0 */
/* A request's URI, headers and arguments. Owned by the thread of its connection. */
#include "config-auto.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#include "api/http/api.h"

struct request *request_new(struct api *api, const char *uri)
{
    struct request *r = calloc(1, sizeof(*r));
    if (r == NULL)
        return NULL;
    r->api = api;
    r->uri = strdup(uri);
    if (r->uri == NULL) {
        free(r);
        return NULL;
    }
    return r;
}

void request_free(struct request *r)
{
    if (r == NULL)
        return;
    if (r->password != NULL)
        explicit_bzero(r->password, strlen(r->password));
    free(r->password);
    free(r->path);
    free(r->uri);
    free(r);
}

static const char *split(struct request *r)
{
    if (r->uri[0] != '/')
        return "the path must begin with /";
    r->path = strdup(r->uri);
    if (r->path == NULL)
        return "out of memory";
    char *question = strchr(r->path, '?');
    r->query = r->path + strlen(r->path);
    if (question != NULL) {
        *question = '\0';
        r->query = question + 1;
    }
    char *rest = r->path + 1;
    while (*rest != '\0') {
        char *slash = strchr(rest, '/');
        if (slash != NULL)
            *slash = '\0';
        if (r->segment_count == SEGMENTS_MAX)
            return "the path has too many parts";
        if (!text_decode(rest))
            return "the path holds a % that is not followed by two hexadecimal digits, or a zero byte";
        r->segments[r->segment_count++] = rest;
        if (slash == NULL)
            return NULL;
        rest = slash + 1;
    }
    r->folder = true;
    return NULL;
}

const char *request_split(struct request *r)
{
    if (r->path == NULL && r->wrong == NULL)
        r->wrong = split(r);
    return r->wrong;
}

const char *request_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

char *request_password(const struct request *r)
{
    char *password = NULL;
#if MHD_VERSION >= 0x00097601
    struct MHD_BasicAuthInfo *given = MHD_basic_auth_get_username_password3(r->connection);
    if (given != NULL && given->password != NULL)
        password = strndup(given->password, given->password_len);
    MHD_free(given);
#else
    char *given = NULL, *user = MHD_basic_auth_get_username_password(r->connection, &given);
    if (user != NULL && given != NULL)
        password = strdup(given);
    MHD_free(user);
    MHD_free(given);
#endif
    return password;
}

bool request_is(const struct request *r, const char *method)
{
    return strcmp(r->method, method) == 0;
}

bool request_wants_page(const struct request *r)
{
    const char *accept = request_header(r, "Accept");
    return accept != NULL && strstr(accept, "text/html") != NULL;
}

int request_argument(const struct request *r, const char *name, char *value, size_t size)
{
    size_t length = strlen(name);
    for (const char *c = r->query; *c != '\0';) {
        size_t n = strcspn(c, "&");
        if (n > length && strncmp(c, name, length) == 0 && c[length] == '=') {
            char *text = strndup(c + length + 1, n - length - 1);
            for (char *plus = text; plus != NULL && (plus = strchr(plus, '+')) != NULL;)
                *plus = ' ';
            bool good = text != NULL && text_decode(text) && strlen(text) < size;
            if (good)
                strcpy(value, text);
            free(text);
            return good ? 1 : -EINVAL;
        }
        c += n + (c[n] == '&');
    }
    return 0;
}

/* ---- the id by which a request is found in the logs of all services: "req-" and a UUID */

static bool request_id_valid(const char *id)
{
    static const char form[] = "req-xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (strlen(id) != sizeof(form) - 1)
        return false;
    for (size_t i = 0; form[i] != '\0'; i++) {
        if (form[i] == 'x' ? !isxdigit((unsigned char)id[i]) : id[i] != form[i])
            return false;
    }
    return true;
}

static char own_via[64];

static void name_this_server(void)
{
    unsigned char b[8] = {0};
    if (getrandom(b, sizeof(b), GRND_NONBLOCK) < 0) { /* early in the boot: another one than that of other processes will do */
        pid_t pid = getpid();
        memcpy(b, &pid, sizeof(pid));
    }
    snprintf(own_via, sizeof(own_via), "1.1 glance-cache-api-%02x%02x%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]);
}

static void find_id(struct request *r)
{
    unsigned char b[16] = {0};
    const char *given = request_header(r, "X-OpenStack-Request-ID");
    if (given != NULL && request_id_valid(given)) {
        strcpy(r->request_id, given);
        return;
    }
    if (getrandom(b, sizeof(b), GRND_NONBLOCK) < 0) /* early in the boot; an id is no secret */
        memcpy(b, &r, sizeof(r));
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(r->request_id, sizeof(r->request_id), "req-%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

/* ---- the way of a request */

const char *request_own_via(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, name_this_server);
    return own_via;
}

bool request_came_back(const struct request *r)
{
    const char *via = request_header(r, "Via");
    return via != NULL && strstr(via, request_own_via()) != NULL;
}

bool request_via(const struct request *r, char *ret, size_t size)
{
    const char *via = request_header(r, "Via");
    int n = snprintf(ret, size, "%s%s%s", via != NULL ? via : "", via != NULL && via[0] != '\0' ? ", " : "", request_own_via());
    return n >= 0 && (size_t)n < size;
}

/* ---- who asks, and for which name: a proxy before this server may say */

static bool peer_of_request(const struct request *r, struct peer *ret)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(r->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return info != NULL && peer_of(info->client_addr, ret);
}

static bool is_trusted(const struct request *r, const struct peer *p)
{
    return peer_listed(p, r->api->config->api.trusted_proxies, r->api->config->api.trusted_proxy_count);
}

/* The last element of the list in TEXT, which is cut there: what the nearest proxy wrote. */
static char *last_element(char *text)
{
    char *comma = strrchr(text, ',');
    char *one = comma != NULL ? comma + 1 : text;
    if (comma != NULL)
        *comma = '\0';
    one += strspn(one, " \t");
    one[strcspn(one, " \t")] = '\0';
    return one;
}

/* The header of the nearest proxy, when it is trusted: 0 and its last element, else -ENOENT. */
static int said_by_proxy(const struct request *r, const char *header, char *ret, size_t size)
{
    struct peer peer;
    const char *value = request_header(r, header);
    if (value == NULL || strlen(value) >= size || !peer_of_request(r, &peer) || !is_trusted(r, &peer))
        return -ENOENT;
    strcpy(ret, value);
    char *one = last_element(ret);
    memmove(ret, one, strlen(one) + 1);
    return ret[0] != '\0' ? 0 : -ENOENT;
}

static bool host_valid(const char *host)
{
    for (const char *c = host; *c != '\0'; c++) {
        bool good = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || strchr(".-_:[]", *c) != NULL;
        if (!good)
            return false;
    }
    return host[0] != '\0';
}

void request_base_url(const struct request *r, char *ret, size_t size)
{
    char proto[16], named[300];
    const char *scheme = r->api->config->api.tls_cert_file != NULL ? "https" : "http", *host = request_header(r, "Host");
    if (said_by_proxy(r, "X-Forwarded-Proto", proto, sizeof(proto)) == 0 && (strcmp(proto, "http") == 0 || strcmp(proto, "https") == 0))
        scheme = proto;
    if (said_by_proxy(r, "X-Forwarded-Host", named, sizeof(named)) == 0 && host_valid(named))
        host = named;
    snprintf(ret, size, "%s://%.400s", scheme, host != NULL && host_valid(host) ? host : "localhost");
}

/* The address of the connection, or what trusted proxies say. */
static void find_client(const struct request *r, char ret[PEER_TEXT])
{
    struct peer peer, before;
    const char *header = request_header(r, "X-Forwarded-For");
    strcpy(ret, "-");
    if (!peer_of_request(r, &peer))
        return;
    char *list = header != NULL ? strdup(header) : NULL;
    while (list != NULL && is_trusted(r, &peer)) { /* from the nearest proxy on, as far as they are trusted */
        bool last = strchr(list, ',') == NULL;
        if (!peer_parse(last_element(list), &before))
            break;
        peer = before;
        if (last)
            break;
    }
    free(list);
    peer_text(&peer, ret);
}

void request_forwarded_for(const struct request *r, char *ret, size_t size)
{
    struct peer peer;
    char text[PEER_TEXT];
    const char *before = request_header(r, "X-Forwarded-For");
    ret[0] = '\0';
    if (!peer_of_request(r, &peer))
        return;
    peer_text(&peer, text);
    bool told = before != NULL && before[0] != '\0' && is_trusted(r, &peer) && strlen(before) + strlen(text) + 3 <= size;
    snprintf(ret, size, "%s%s%s", told ? before : "", told ? ", " : "", text);
}

void request_name(struct request *r)
{
    find_id(r);
    find_client(r, r->client);
}
