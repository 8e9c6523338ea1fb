/* SPDX-License-Identifier: Apache-2.0 */
/* The names in a folder of the view, as a list: taken whole before anything is changed. Any thread. */
#ifndef GCFS_API_NAMES_H
#define GCFS_API_NAMES_H

#include <stddef.h>

#include "api/cache/mount.h"

struct names {
    char **list;
    size_t count, size;
};

/* -errno as mount_each(); the names that were had are in *ret all the same. Free them with names_free() in any case. */
int names_read(const char *mount, enum mount_folder folder, struct names *ret);
void names_free(struct names *n);

#endif
