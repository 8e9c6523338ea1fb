/* SPDX-License-Identifier: Apache-2.0 */
/* Patterns are those of the shell, matched here so that the backend's images count, and not files where the command is typed. */
#include "config-auto.h"

#include "prefetcher/wanted.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "base/log.h"
#include "common/folder.h"

enum { NAME_MOST = 256 }; /* bytes, with its end */

/* ---- files */

static int add(struct wanted *w, const char *name)
{
    char **own = reallocarray(w->own, w->own_count + 1, sizeof(*own));
    if (own == NULL)
        return -ENOMEM;
    w->own = own;
    own[w->own_count] = strdup(name);
    if (own[w->own_count] == NULL)
        return -ENOMEM;
    w->own_count++;
    return 0;
}

int wanted_read(struct wanted *w, const char *path)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *in = standard ? stdin : fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    int r = 0;
    if (in == NULL)
        return log_errno(-errno, "--file %s", path);
    while (r == 0 && getline(&line, &room, in) > 0) {
        char *name = line + strspn(line, " \t");
        name[strcspn(name, "\r\n")] = '\0';
        for (size_t n = strlen(name); n > 0 && (name[n - 1] == ' ' || name[n - 1] == '\t'); n--)
            name[n - 1] = '\0';
        if (*name != '\0' && *name != '#')
            r = add(w, name);
    }
    if (r == 0 && ferror(in))
        r = -EIO;
    free(line);
    if (!standard)
        fclose(in);
    return r < 0 ? log_errno(r, "--file %s", path) : 0;
}

/* ---- names and patterns */

struct seen {
    char *name;
    UT_hash_handle hh;
};

struct expansion {
    const char *pattern;
    struct seen *seen;
    size_t matched;
    wanted_fn *fn;
    void *context;
};

static int take(struct expansion *x, const char *name)
{
    struct seen *s;
    HASH_FIND_STR(x->seen, name, s);
    if (s != NULL)
        return 0;
    s = calloc(1, sizeof(*s));
    if (s == NULL || (s->name = strdup(name)) == NULL) {
        free(s);
        return -ENOMEM;
    }
    HASH_ADD_KEYPTR(hh, x->seen, s->name, strlen(s->name), s);
    return x->fn(x->context, name);
}

static int match(void *context, const char *name)
{
    struct expansion *x = context;
    if (fnmatch(x->pattern, name, 0) != 0)
        return 0;
    x->matched++;
    return take(x, name);
}

static bool is_image(const struct cache_mount *mount, const char *name)
{
    char path[NAME_MOST + 16];
    return strchr(name, '/') == NULL && snprintf(path, sizeof(path), "images/%s", name) < (int)sizeof(path) &&
           faccessat(mount->fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int expand(struct expansion *x, const struct cache_mount *mount, const char *text)
{
    if (strpbrk(text, "*?[") == NULL || is_image(mount, text))
        return take(x, text);
    x->pattern = text;
    x->matched = 0;
    int r = folder_each(mount, "images", match, x);
    if (r == 0 && x->matched == 0) {
        log_error("no image of the backend matches '%s'", text);
        r = -ENOENT;
    }
    return r;
}

int wanted_each(const struct wanted *w, const struct cache_mount *mount, wanted_fn *fn, void *context)
{
    struct expansion x = {.fn = fn, .context = context};
    struct seen *s, *next;
    int r = w->all ? expand(&x, mount, "*") : 0;
    for (size_t i = 0; r == 0 && i < w->count; i++)
        r = expand(&x, mount, w->names[i]);
    for (size_t i = 0; r == 0 && i < w->own_count; i++)
        r = expand(&x, mount, w->own[i]);
    HASH_ITER(hh, x.seen, s, next) {
        HASH_DEL(x.seen, s);
        free(s->name);
        free(s);
    }
    return r;
}

/* ---- did you mean */

struct nearest {
    const char *name;
    size_t best;
    char text[NAME_MOST];
};

static size_t least(size_t a, size_t b, size_t c)
{
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* Letters to be put in, taken out or changed (Levenshtein). */
static size_t distance(const char *a, const char *b)
{
    size_t row[NAME_MOST], length = strnlen(b, NAME_MOST - 1);
    for (size_t j = 0; j <= length; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, row[j] + 1, row[j - 1] + 1);
        }
    }
    return row[length];
}

static int compare(void *context, const char *name)
{
    struct nearest *n = context;
    size_t d = distance(n->name, name);
    if (d < n->best && strlen(name) < NAME_MOST) {
        n->best = d;
        snprintf(n->text, sizeof(n->text), "%s", name);
    }
    return 0;
}

bool wanted_nearest(const struct cache_mount *mount, const char *name, char *ret, size_t size)
{
    size_t length = strlen(name);
    struct nearest n = {.name = name, .best = length / 3 + 2};
    if (length >= NAME_MOST || folder_each(mount, "images", compare, &n) < 0 || n.text[0] == '\0')
        return false;
    snprintf(ret, size, "%s", n.text);
    return true;
}
