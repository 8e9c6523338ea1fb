/* SPDX-License-Identifier: Apache-2.0 */
/* The two lists. No state. */
#include "config-auto.h"

#include "api/relay/headers.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

/* A '-' at the end: all that begin so. */
static const char *const GOING[] = {
    "Accept", "Accept-", "Access-Control-Request-", "Authorization", "Cache-Control", "Content-", "If-", "OpenStack-API-Version", "Origin",
    "Pragma", "Range", "Referer", "traceparent", "tracestate", "User-Agent", "X-Auth-Token", "X-Image-", "X-OpenStack-", "X-Requested-With",
    "X-Service-Token", "X-Trace-Info", "X-Trace-HMAC",
};

/* Of one connection, or written anew for the next: the request id is added by the caller. */
static const char *const OWN[] = {
    "Connection", "Content-Length", "Keep-Alive", "Proxy-", "TE", "Trailer", "Transfer-Encoding", "Upgrade", "Via", "X-OpenStack-Request-ID",
};

static const char *const OWN_BACK[] = {
    "Connection", "Content-Length", "Date", "Keep-Alive", "Proxy-", "TE", "Trailer", "Transfer-Encoding", "Upgrade",
};

static bool is_one_of(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(list[i]);
        if (list[i][n - 1] == '-' ? strncasecmp(name, list[i], n) == 0 : strcasecmp(name, list[i]) == 0)
            return true;
    }
    return false;
}

/* Is NAME one of the words in CONNECTION? */
static bool is_named(const char *name, const char *connection)
{
    size_t length = strlen(name);
    for (const char *c = connection; c != NULL && *c != '\0';) {
        c += strspn(c, ", \t");
        size_t n = strcspn(c, ", \t");
        if (n == length && n > 0 && strncasecmp(c, name, n) == 0)
            return true;
        c += n;
    }
    return false;
}

bool header_goes(const char *name, const char *connection)
{
    return is_one_of(name, GOING, sizeof(GOING) / sizeof(GOING[0])) && !is_one_of(name, OWN, sizeof(OWN) / sizeof(OWN[0])) &&
           !is_named(name, connection) && strchr(name, '_') == NULL; /* which a WSGI server does not tell from '-' */
}

bool header_returns(const char *name, const char *connection)
{
    return !is_one_of(name, OWN_BACK, sizeof(OWN_BACK) / sizeof(OWN_BACK[0])) && !is_named(name, connection);
}
