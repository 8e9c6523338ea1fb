/* SPDX-License-Identifier: Apache-2.0 */
/* A list of names. */
#include "config-auto.h"

#include "api/cache/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool take(void *context, const char *name)
{
    struct names *n = context;
    if (n->count == n->size) {
        size_t size = n->size == 0 ? 64 : n->size * 2;
        char **list = realloc(n->list, size * sizeof(*list));
        if (list == NULL)
            return false;
        n->list = list;
        n->size = size;
    }
    n->list[n->count] = strdup(name);
    if (n->list[n->count] == NULL)
        return false;
    n->count++;
    return true;
}

int names_read(const char *mount, enum mount_folder folder, struct names *ret)
{
    *ret = (struct names){0};
    return mount_each(mount, folder, take, ret);
}

void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++)
        free(n->list[i]);
    free(n->list);
    *n = (struct names){0};
}
