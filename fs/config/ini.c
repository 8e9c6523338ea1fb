/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INI files of others, such as shared credentials for S3. Read here and not by inih, which cuts lines at 200 bytes: a session
 * token alone may have more than a thousand. Lines may hold secrets, so that they are wiped.
 *
 * No state, no lock.
 */
#include "config-auto.h"

#include "config/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ini {
    config_ini_fn *fn;
    void *context;
    char *section;
    bool named;    /* a name stands above in the section, */
    size_t indent; /* behind so many blanks; a line further in belongs to its value */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The text from START to END without the blanks around it; in place. */
static char *trim(char *start, char *end)
{
    while (end > start && is_blank(end[-1]))
        end--;
    *end = '\0';
    while (is_blank(*start))
        start++;
    return start;
}

static int begin_section(struct ini *ini, char *line)
{
    char *close = strchr(line, ']');
    if (!close)
        return -EINVAL;
    char *section = strdup(trim(line + 1, close));
    if (!section)
        return -ENOMEM;
    free(ini->section);
    ini->section = section;
    ini->named = false;
    return 0;
}

/* "name = value", or with a colon; a blank and ';' or '#' begin a comment. */
static int take_value(struct ini *ini, char *line, size_t indent)
{
    char *sign = strpbrk(line, "=:");
    if (!sign || sign == line)
        return -EINVAL;
    char *end = sign + 1;
    while (*end && !((*end == ';' || *end == '#') && is_blank(end[-1])))
        end++;
    char *value = trim(sign + 1, end);
    ini->named = true;
    ini->indent = indent;
    return ini->fn(ini->context, ini->section ? ini->section : "", trim(line, sign), value);
}

static int take_line(struct ini *ini, char *line, size_t length)
{
    if (strlen(line) != length)
        return -EINVAL;
    size_t indent = strspn(line, " \t");
    char *text = trim(line, line + length);
    if (*text == '\0' || *text == '#' || *text == ';')
        return 0;
    if (ini->named && indent > ini->indent)
        return 0;
    return *text == '[' ? begin_section(ini, text) : take_value(ini, text, indent);
}

int config_read_ini(const char *path, config_ini_fn *fn, void *context)
{
    struct ini ini = {.fn = fn, .context = context};
    FILE *file = fopen(path, "re");
    if (!file)
        return -errno;
    char *line = NULL;
    size_t size = 0;
    ssize_t n;
    int r = 0;
    bool first = true;
    errno = 0;
    while (r == 0 && (n = getline(&line, &size, file)) >= 0) {
        size_t mark = first && strncmp(line, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        r = take_line(&ini, line + mark, (size_t)n - mark);
        first = false;
    }
    if (r == 0 && !feof(file))
        r = errno ? -errno : -EIO;
    if (line)
        explicit_bzero(line, size);
    free(line);
    free(ini.section);
    fclose(file);
    return r;
}
