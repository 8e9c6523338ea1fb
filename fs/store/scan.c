/* SPDX-License-Identifier: Apache-2.0 */
/* Going through the folders of the store, for who makes them agree with the catalogue. */
#include "config-auto.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "image/id.h"
#include "store/private.h"

/* A stream of its own, so that scans do not share a position. */
static int open_stream(int dir, DIR **ret)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *stream = fdopendir(fd);
    if (!stream) {
        int r = -errno;
        close(fd);
        return r;
    }
    *ret = stream;
    return 0;
}

/* The next entry that may be a regular file. 1; 0: the end; negative errno. */
static int next_entry(DIR *stream, struct dirent **ret)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry)
            return -errno;
        if (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN) {
            *ret = entry;
            return 1;
        }
    }
}

int store_scan(struct store *s, enum store_place place, store_scan_fn *fn, void *context)
{
    assert(place >= STORE_COMPLETE && place <= STORE_QUEUE);
    DIR *stream;
    int r = open_stream(s->places[place], &stream);
    if (r < 0)
        return r;
    struct dirent *entry = NULL;
    while ((r = next_entry(stream, &entry)) > 0) {
        struct store_file file;
        if (!image_id_valid(entry->d_name))
            continue;
        r = store_stat_at(s->places[place], entry->d_name, &file);
        if (r == -ENOENT || r == -EINVAL) /* gone since, or no file after all */
            continue;
        if (r >= 0)
            r = fn(context, entry->d_name, &file);
        if (r != 0)
            break;
    }
    closedir(stream);
    return r;
}

/* The row that a name in .retired/ stands for; 0: none. */
static int64_t parse_row(const char *name)
{
    char canonical[ROW_NAME_SIZE];
    errno = 0;
    long long row = strtoll(name, NULL, 10);
    if (errno || row <= 0)
        return 0;
    store_row_name(row, canonical);
    return strcmp(name, canonical) ? 0 : row;
}

int store_scan_retired(struct store *s, int (*fn)(void *context, int64_t row), void *context)
{
    DIR *stream;
    int r = open_stream(s->retired, &stream);
    if (r < 0)
        return r;
    struct dirent *entry = NULL;
    while ((r = next_entry(stream, &entry)) > 0) {
        int64_t row = parse_row(entry->d_name);
        if (row == 0)
            continue;
        r = fn(context, row);
        if (r != 0)
            break;
    }
    closedir(stream);
    return r;
}
