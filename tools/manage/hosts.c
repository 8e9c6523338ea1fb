/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which hosts are meant: "a,b", "node-[1-5]", "node-[01-12,20].example.org", "[::1]:9292", "http://h:1/", "@FILE" with a line each. Pure but
 * for the file.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "manage/manage.h"

enum { NAME_MOST = 512 };

static int __attribute__((format(printf, 3, 4))) fail(char why[WHY_MAX], int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, WHY_MAX, format, args);
    va_end(args);
    return error;
}

/* "h", "h:1", "[::1]:1", "::1", "http://h:1/" as a url. NULL: no memory. */
static char *url_of(const struct options *o, const char *given)
{
    const char *scheme = o->https ? "https" : "http", *port = o->port != NULL ? o->port : "9292";
    char *url = NULL;
    int n;
    if (strncmp(given, "http://", 7) == 0 || strncmp(given, "https://", 8) == 0) {
        url = strdup(given);
        for (size_t i = url != NULL ? strlen(url) : 0; i > 0 && url[i - 1] == '/'; i--)
            url[i - 1] = '\0';
        return url;
    }
    const char *colon = strchr(given, ':');
    bool bracket = given[0] == '[';
    if (colon != NULL && !bracket && strchr(colon + 1, ':') != NULL)
        n = asprintf(&url, "%s://[%s]:%s", scheme, given, port);
    else if (bracket ? strstr(given, "]:") != NULL : colon != NULL)
        n = asprintf(&url, "%s://%s", scheme, given);
    else
        n = asprintf(&url, "%s://%s:%s", scheme, given, port);
    return n < 0 ? NULL : url;
}

static int add(struct options *o, const char *given, char why[WHY_MAX])
{
    if (given[0] == '\0')
        return fail(why, -EINVAL, "a server must have a name, not ''");
    if (o->host_count == HOSTS_MAX)
        return fail(why, -E2BIG, "too many hosts, from %s", given);
    struct host *hosts = realloc(o->hosts, (o->host_count + 1) * sizeof(*hosts));
    if (hosts == NULL)
        return fail(why, -ENOMEM, "out of memory");
    o->hosts = hosts;
    struct host h = {.name = strdup(given), .url = url_of(o, given)};
    hosts[o->host_count++] = h;
    return h.name == NULL || h.url == NULL ? fail(why, -ENOMEM, "out of memory") : 0;
}

/* ---- ranges */

/* Where the next "[1-5,7]" of TEXT begins; NULL: there is none. An address in brackets has colons. */
static const char *range_in(const char *text)
{
    for (const char *open = strchr(text, '['); open != NULL; open = strchr(open + 1, '[')) {
        size_t n = strspn(open + 1, "0123456789,-");
        if (n > 0 && open[1 + n] == ']')
            return open;
    }
    return NULL;
}

static int expand(struct options *o, const char *text, char why[WHY_MAX]);

/* HEAD, each number from FIRST to LAST (as wide as WIDTH), and what is behind it. */
static int expand_span(struct options *o, const char *text, const char *open, const char *behind, const char *span, char why[WHY_MAX])
{
    char name[NAME_MOST], *end;
    int width = (int)strspn(span, "0123456789");
    unsigned long first = strtoul(span, &end, 10), last = *end == '-' ? strtoul(end + 1, &end, 10) : first;
    if (width == 0 || width > 9 || *end != '\0' || last < first)
        return fail(why, -EINVAL, "\"%s\" is no range of numbers such as node-[1-5,8]", text);
    if (span[0] != '0')
        width = 1; /* only leading zeros are meant to stay */
    for (unsigned long n = first; n <= last; n++) {
        if (snprintf(name, sizeof(name), "%.*s%0*lu%s", (int)(open - text), text, width, n, behind) >= (int)sizeof(name))
            return fail(why, -EINVAL, "\"%.100s…\" is too long", text);
        int r = expand(o, name, why);
        if (r < 0)
            return r;
    }
    return 0;
}

static int expand(struct options *o, const char *text, char why[WHY_MAX])
{
    const char *open = range_in(text);
    if (open == NULL)
        return add(o, text, why);
    const char *close = strchr(open, ']');
    char *spans = strndup(open + 1, (size_t)(close - open - 1)), *rest = spans, *span;
    int r = spans == NULL ? fail(why, -ENOMEM, "out of memory") : 0;
    while (r == 0 && (span = strsep(&rest, ",")) != NULL)
        r = expand_span(o, text, open, close + 1, span, why);
    free(spans);
    return r;
}

/* ---- lists */

/* Cuts TEXT at blanks and at commas that stand in no brackets. */
static char *next_word(char **text)
{
    unsigned depth = 0;
    char *begin = *text + strspn(*text, " \t\r\n,"), *p;
    for (p = begin; *p != '\0' && (depth > 0 || strchr(" \t\r\n,", *p) == NULL); p++)
        depth = *p == '[' ? depth + 1 : *p == ']' && depth > 0 ? depth - 1 : depth;
    *text = *p == '\0' ? p : p + 1;
    *p = '\0';
    return begin == p ? NULL : begin;
}

static int add_words(struct options *o, const char *list, char why[WHY_MAX])
{
    char *copy = strdup(list), *rest = copy, *word;
    int r = copy == NULL ? fail(why, -ENOMEM, "out of memory") : 0;
    while (r == 0 && (word = next_word(&rest)) != NULL)
        r = expand(o, word, why);
    free(copy);
    return r;
}

static int add_file(struct options *o, const char *path, char why[WHY_MAX])
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        int error = errno;
        return fail(why, -error, "@%.200s: %s", path, strerror(error));
    }
    int r = 0;
    while (r == 0 && getline(&line, &size, file) >= 0) {
        line[strcspn(line, "#")] = '\0';
        r = add_words(o, line, why);
    }
    free(line);
    fclose(file);
    return r;
}

int hosts_add(struct options *o, const char *text, char why[WHY_MAX])
{
    size_t before = o->host_count;
    int r = text[0] == '@' ? add_file(o, text + 1, why) : add_words(o, text, why);
    return r < 0 ? r : o->host_count > before ? 0 : text[0] == '@' ? fail(why, -EINVAL, "%s names no host", text) : add(o, "", why);
}

void hosts_free(struct options *o)
{
    for (size_t i = 0; i < o->host_count; i++) {
        free(o->hosts[i].name);
        free(o->hosts[i].url);
    }
    free(o->hosts);
}
