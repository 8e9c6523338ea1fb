/* SPDX-License-Identifier: Apache-2.0 */
/* A damaged catalogue is set aside, under a name that tells when; the newest few are kept for who wants to know why. */
#include "config-auto.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/private.h"

#define DAMAGED_PREFIX CATALOGUE_NAME ".damaged-"

enum { DAMAGED_KEPT = 3 };

/* The log first, the database last: a log left beside a new database would be taken for its own. */
static const char *const catalogue_suffixes[] = { "-wal", "-shm", "-journal", "" };
enum { SUFFIXES = sizeof catalogue_suffixes / sizeof catalogue_suffixes[0] };

static int move_catalogue(struct store *s, const char *to)
{
    int dir = s->places[STORE_COMPLETE];
    for (int i = 0; i < SUFFIXES; i++) {
        char from[NAME_MAX + 1], target[NAME_MAX + 1];
        snprintf(from, sizeof from, CATALOGUE_NAME "%s", catalogue_suffixes[i]);
        snprintf(target, sizeof target, "%s%s", to, catalogue_suffixes[i]);
        int r = store_move_at(dir, from, dir, target);
        if (r < 0 && r != -ENOENT)
            return r;
    }
    return fsync(dir) < 0 ? -errno : 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && !strcmp(text + length - end_length, end);
}

static int is_damaged_copy(const struct dirent *entry)
{
    const char *name = entry->d_name;
    return !strncmp(name, DAMAGED_PREFIX, strlen(DAMAGED_PREFIX)) && !ends_with(name, "-wal") &&
           !ends_with(name, "-shm") && !ends_with(name, "-journal");
}

/* Their names sort by time. */
static int remove_oldest_copies(struct store *s)
{
    int dir = s->places[STORE_COMPLETE];
    struct dirent **entries;
    int n = scandirat(dir, ".", &entries, is_damaged_copy, alphasort);
    if (n < 0)
        return -errno;
    int r = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; i < n - DAMAGED_KEPT && j < SUFFIXES && r >= 0; j++) {
            char name[NAME_MAX + 16];
            snprintf(name, sizeof name, "%s%s", entries[i]->d_name, catalogue_suffixes[j]);
            r = store_remove_at(dir, name);
            r = r == -EISDIR ? 0 : r; /* somebody's folder, in the place of a log */
        }
        free(entries[i]);
    }
    free(entries);
    return r;
}

int store_set_catalogue_aside(struct store *s, int64_t now)
{
    time_t seconds = (time_t)(now / NS_PER_S);
    struct tm tm;
    if (!gmtime_r(&seconds, &tm))
        return -EINVAL;
    char stamp[32], to[96];
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    /* A second one within the second does not replace the first. */
    for (int i = 0;; i++) {
        snprintf(to, sizeof to, i ? DAMAGED_PREFIX "%s.%d" : DAMAGED_PREFIX "%s", stamp, i);
        struct stat st;
        if (fstatat(s->places[STORE_COMPLETE], to, &st, AT_SYMLINK_NOFOLLOW) < 0)
            break;
    }
    int r = move_catalogue(s, to);
    return r < 0 ? r : remove_oldest_copies(s);
}
