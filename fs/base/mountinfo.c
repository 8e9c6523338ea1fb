/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "base/mountinfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_octal(char c)
{
    return c >= '0' && c <= '7';
}

/* In place: \040 and the like. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\' && c[1] >= '0' && c[1] <= '3' && is_octal(c[2]) && is_octal(c[3])) {
            *to++ = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
            c += 3;
        } else {
            *to++ = *c;
        }
    }
    *to = '\0';
}

/* user_id=N among the options of the file system itself, which the kernel writes. */
static long long owner_of(const char *options)
{
    static const char key[] = "user_id=";
    while (options != NULL && *options != '\0') {
        if (strncmp(options, key, sizeof(key) - 1) == 0)
            return strtoll(options + sizeof(key) - 1, NULL, 10);
        options = strchr(options, ',');
        if (options != NULL)
            options++;
    }
    return -1;
}

bool mountinfo_parse(const char *line, struct mountinfo *ret)
{
    const char *rest = strstr(line, " - ");
    char *root = NULL, *options = NULL;
    *ret = (struct mountinfo){.point = NULL};
    bool good = rest != NULL && sscanf(line, "%*s %*s %31s %ms %ms", ret->device, &root, &ret->point) == 3 &&
                strchr(ret->device, ':') != NULL && sscanf(rest, " - %63s %ms %ms", ret->type, &ret->source, &options) >= 2;
    ret->owner = owner_of(options);
    free(options);
    ret->whole = good && strcmp(root, "/") == 0;
    free(root);
    if (!good) {
        mountinfo_clear(ret);
        return false;
    }
    unescape(ret->point);
    unescape(ret->source);
    return true;
}

void mountinfo_clear(struct mountinfo *m)
{
    free(m->point);
    free(m->source);
    *m = (struct mountinfo){.point = NULL};
}

bool mountinfo_is_ours(const struct mountinfo *m)
{
    return strcmp(m->type, "fuse.glance-cache-fs") == 0;
}
