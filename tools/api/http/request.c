/* SPDX-License-Identifier: Apache-2.0 */
/* A request's URI, headers and arguments. Owned by the thread of its connection. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
    free(r->path);
    free(r->uri);
    free(r);
}

static int nibble(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place. False: a '%' without two digits, or a zero byte. */
static bool decode(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        int c = (unsigned char)*in;
        if (c == '%') {
            int high = nibble(in[1]), low = high < 0 ? -1 : nibble(in[2]);
            if (low < 0 || (high == 0 && low == 0))
                return false;
            c = high << 4 | low;
            in += 2;
        }
        *out++ = (char)c;
    }
    *out = '\0';
    return true;
}

const char *request_split(struct request *r)
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
        if (!decode(rest))
            return "the path holds a % that is not followed by two hexadecimal digits, or a zero byte";
        r->segments[r->segment_count++] = rest;
        if (slash == NULL)
            return NULL;
        rest = slash + 1;
    }
    r->folder = true;
    return NULL;
}

const char *request_header(const struct request *r, const char *name)
{
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
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
            bool good = text != NULL && decode(text) && strlen(text) < size;
            if (good)
                strcpy(value, text);
            free(text);
            return good ? 1 : -EINVAL;
        }
        c += n + (c[n] == '&');
    }
    return 0;
}
