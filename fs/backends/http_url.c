/* SPDX-License-Identifier: Apache-2.0 */
/* Urls of the configuration. Pure; no state, no lock. */
#include "config-auto.h"

#include "backends/http_url.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/secret.h"
#include "transfer/transfer.h"

static const char id_mark[] = "{id}";

void http_url_clear(struct http_url *u)
{
    free(u->url);
    free(u->name);
    secret_free(u->user_password);
    *u = (struct http_url){ 0 };
}

/* Where the authority begins; NULL for another scheme. */
static const char *authority(const char *url)
{
    if (strncasecmp(url, "http://", 7) == 0)
        return url + 7;
    if (strncasecmp(url, "https://", 8) == 0)
        return url + 8;
    return NULL;
}

static const char *find_fault(const char *text, bool place_for_id)
{
    const char *host = authority(text);
    if (!host)
        return "must begin with http:// or https://";
    for (const unsigned char *c = (const unsigned char *) text; *c; c++) {
        if (*c <= ' ' || *c == 0x7f)
            return "holds a blank or a control character; write it as %20 or the like";
    }
    if (strchr(text, '#'))
        return "holds a '#', which no server gets to see; write it as %23 if it is part of a name";
    const char *path = host + strcspn(host, "/?");
    const char *at = memrchr(host, '@', (size_t) (path - host));
    const char *name = at ? at + 1 : host;
    if (name == path || *name == ':')
        return "names no host";
    const char *mark = strstr(text, id_mark);
    if (mark && !place_for_id)
        return "is one page and cannot hold {id}";
    if (mark && mark < path)
        return "has its {id} in the host; it belongs behind it";
    if (mark && strstr(mark + 1, id_mark))
        return "has more than one {id}";
    if (place_for_id && !mark && strchr(path, '?'))
        return "has a query: write {id} where the image's id belongs";
    return NULL;
}

/* The userinfo from START to END, unescaped, as "user:password". */
static int take_userinfo(const char *start, const char *end, char **ret)
{
    char *text = strndup(start, (size_t) (end - start));
    if (!text)
        return -ENOMEM;
    char *user_password = NULL;
    bool good = transfer_unescape(text) >= 0 && !strpbrk(text, "\r\n");
    if (good && asprintf(&user_password, strchr(text, ':') ? "%s" : "%s:", text) < 0)
        user_password = NULL;
    secret_free(text);
    if (!good)
        return -EINVAL;
    if (!user_password)
        return -ENOMEM;
    *ret = user_password;
    return 0;
}

int http_url_parse(const char *text, bool place_for_id, struct http_url *ret, const char **ret_why)
{
    const char *why = find_fault(text, place_for_id);
    if (why) {
        *ret_why = why;
        return -EINVAL;
    }
    const char *start = authority(text);
    const char *path = start + strcspn(start, "/?");
    const char *at = memrchr(start, '@', (size_t) (path - start));
    const char *host = at ? at + 1 : start;

    struct http_url u = { 0 };
    int r = at ? take_userinfo(start, at, &u.user_password) : 0;
    if (r == -EINVAL)
        *ret_why = "has a user or password that cannot be sent";
    if (r < 0)
        return r;
    bool append = place_for_id && !strstr(text, id_mark);
    const char *slash = append && text[strlen(text) - 1] != '/' ? "/" : "";
    if (asprintf(&u.url, "%.*s%s%s%s", (int) (start - text), text, host, slash, append ? id_mark : "") < 0)
        u.url = NULL;
    if (asprintf(&u.name, "%.*s%.*s", (int) (start - text), text, (int) strcspn(host, "?"), host) < 0)
        u.name = NULL;
    if (!u.url || !u.name) {
        http_url_clear(&u);
        return -ENOMEM;
    }
    *ret = u;
    return 0;
}

char *http_url_of(const struct http_url *u, const char *id)
{
    const char *mark = strstr(u->url, id_mark);
    char *escaped = transfer_escape(id), *url = NULL;
    if (!mark || !escaped ||
        asprintf(&url, "%.*s%s%s", (int) (mark - u->url), u->url, escaped, mark + strlen(id_mark)) < 0)
        url = NULL;
    free(escaped);
    return url;
}

int http_url_folder(const struct http_url *u, char **ret)
{
    const char *mark = strstr(u->url, id_mark);
    if (!mark || mark[strlen(id_mark)] != '\0' || mark[-1] != '/' || memchr(u->url, '?', (size_t) (mark - u->url)))
        return -ENOTSUP;
    char *folder = strndup(u->url, (size_t) (mark - u->url));
    if (!folder)
        return -ENOMEM;
    *ret = folder;
    return 0;
}

bool http_url_same_server(const struct http_url *a, const struct http_url *b)
{
    const char *at = authority(a->url);
    size_t length = (size_t) (at - a->url) + strcspn(at, "/?");
    return strncasecmp(a->url, b->url, length) == 0 && strchr("/?", b->url[length]); /* finds the text's end, too */
}
