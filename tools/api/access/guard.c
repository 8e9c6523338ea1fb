/* SPDX-License-Identifier: Apache-2.0 */
/* The checks against DNS rebinding and cross-site requests. No state. */
#include "config-auto.h"

#include "api/access/guard.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { HOST_MAX = 255 };

/* The host without its port; brackets of an IPv6 address go too. False: not well-formed. */
static bool bare_host(const char *host, char *ret, size_t size)
{
    const char *end = host + strcspn(host, ":");
    bool bracket = host[0] == '[';
    if (bracket) {
        host++;
        end = strchr(host, ']');
        if (end == NULL)
            return false;
    }
    size_t length = (size_t)(end - host);
    const char *port = bracket ? end + 1 : end;
    if (length == 0 || length >= size || (*port != '\0' && *port != ':'))
        return false;
    if (*port == ':' && strspn(port + 1, "0123456789") != strlen(port + 1))
        return false;
    memcpy(ret, host, length);
    ret[length] = '\0';
    return true;
}

static bool is_localhost(const char *name)
{
    static const char suffix[] = ".localhost";
    size_t length = strlen(name), tail = sizeof(suffix) - 1;
    return strcasecmp(name, "localhost") == 0 || (length > tail && strcasecmp(name + length - tail, suffix) == 0);
}

bool guard_host(const char *host, char *const *names, size_t name_count)
{
    char name[HOST_MAX + 1];
    struct in6_addr address;
    if (host == NULL) /* HTTP/1.0; a browser always sends one */
        return true;
    if (!bare_host(host, name, sizeof(name)))
        return false;
    if (inet_pton(AF_INET, name, &address) == 1 || inet_pton(AF_INET6, name, &address) == 1 || is_localhost(name))
        return true;
    for (size_t i = 0; i < name_count; i++) {
        if (strcasecmp(name, names[i]) == 0)
            return true;
    }
    return false;
}

/* Is ORIGIN ("scheme://host:port") the host that was asked? */
static bool same_origin(const char *origin, const char *host)
{
    const char *rest = strstr(origin, "://");
    return rest != NULL && host != NULL && strcasecmp(rest + 3, host) == 0;
}

const char *guard_site(const struct guard_request *r)
{
    bool browser = r->origin != NULL || r->fetch_site != NULL;
    bool foreign = r->fetch_site != NULL && strcmp(r->fetch_site, "same-origin") != 0 && strcmp(r->fetch_site, "none") != 0;
    bool link = r->page && !r->change && r->fetch_mode != NULL && strcmp(r->fetch_mode, "navigate") == 0;
    if (foreign && !link)
        return "requests from pages of other sites are refused";
    if (r->origin != NULL && !same_origin(r->origin, r->host))
        return "requests from pages of other origins are refused";
    if (r->change && browser && r->custom == NULL)
        return "a browser must send the header " GUARD_HEADER " with a change";
    return NULL;
}
