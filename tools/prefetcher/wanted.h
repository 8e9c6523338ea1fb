/* SPDX-License-Identifier: Apache-2.0 */
/* Which images the command line asks for: names, patterns, a file of both, or all. One thread. */
#ifndef GCFS_PREFETCHER_WANTED_H
#define GCFS_PREFETCHER_WANTED_H

#include <stdbool.h>
#include <stddef.h>

#include "common/find_mount.h"

struct wanted {
    char **names; /* of the command line, not copied; then those of the files */
    size_t count;
    char **own; /* of the files: ours to free */
    size_t own_count;
    bool all;
};

/* Adds what stands in the file at PATH ("-": standard input), a name or pattern a line, blank lines and those that begin with # left out.
 * Logs what is wrong. */
int wanted_read(struct wanted *w, const char *path);

/*
 * Calls FN for each image: names as they are, and what images/ has that matches a pattern (* ? [), each once. A name with such a letter that is
 * an image's is a name. -ENOENT, logged, when nothing matches a pattern; what FN returned, when that was not 0.
 */
typedef int wanted_fn(void *context, const char *name);
int wanted_each(const struct wanted *w, const struct cache_mount *mount, wanted_fn *fn, void *context);

/* The image of images/ whose name is nearest to NAME, by at most a third of its letters. False: none is. */
bool wanted_nearest(const struct cache_mount *mount, const char *name, char *ret, size_t size);

#endif
