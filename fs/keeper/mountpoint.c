/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where, by /proc/self/mountinfo; stale mounts are taken away. */
#include "config-auto.h"

#include "keeper/mountpoint.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"

enum { STACKED_MAX = 16 }; /* stale mounts over one another */

/* What is mounted last at PATH; type "": nothing. mountinfo_clear() it. */
static void find_mounted(const char *path, struct mountinfo *ret)
{
    char *line = NULL;
    size_t size = 0;
    struct mountinfo m;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    *ret = (struct mountinfo){.type = ""};
    while (file != NULL && getline(&line, &size, file) > 0) {
        if (!mountinfo_parse(line, &m))
            continue;
        if (strcmp(m.point, path) == 0) {
            mountinfo_clear(ret);
            *ret = m;
        } else {
            mountinfo_clear(&m);
        }
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

/* A mount of ours with DEVICE as its source. */
static bool is_of(const struct mountinfo *m, const char *device)
{
    return mountinfo_is_ours(m) && strcmp(m->source, device) == 0;
}

/* PATH made absolute without looking at what it names, which may be a mount that does not answer. */
static int absolute(const char *given, char **ret)
{
    char *parent = strdup(given), *last = strdup(given), *folder = NULL;
    int r = parent == NULL || last == NULL ? -ENOMEM : 0;
    while (r == 0 && last[1] != '\0' && last[strlen(last) - 1] == '/')
        last[strlen(last) - 1] = '\0';
    const char *name = r == 0 ? strrchr(last, '/') : NULL;
    name = name != NULL ? name + 1 : last;
    if (r == 0 && (*name == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0))
        r = (*ret = realpath(given, NULL)) == NULL ? -errno : 1;
    if (r == 0 && (folder = realpath(dirname(parent), NULL)) == NULL)
        r = -errno;
    if (r == 0 && asprintf(ret, "%s/%s", strcmp(folder, "/") == 0 ? "" : folder, name) < 0)
        r = -ENOMEM;
    free(folder);
    free(parent);
    free(last);
    return r < 0 ? r : 0;
}

static int check_answering(const char *given, char *path, const struct mountinfo *mounted)
{
    struct stat st;
    int r = stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if (r == 0 && mountinfo_is_ours(mounted)) {
        log_error("%s is mounted already, by another glance-cache-fs: unmount it, or name another mount point", given);
        return -EBUSY;
    }
    return r < 0 && r != -ENOTCONN ? log_errno(r, "the mount point %s cannot be used", given) : 0;
}

int mountpoint_find(const char *given, char **ret_path, struct mountinfo *ret)
{
    char *path;
    struct stat st;
    int r = absolute(given, &path);
    if (r < 0)
        return log_errno(r, "the mount point %s cannot be used", given);
    find_mounted(path, ret);
    /* Nothing is mounted on a symbolic link itself. What is mounted is not looked at: who serves it may be who asks here. */
    if (*ret->type == '\0' && lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) {
        free(path);
        path = realpath(given, NULL);
        if (path == NULL)
            return log_errno(-errno, "the mount point %s cannot be used", given);
        find_mounted(path, ret);
    }
    *ret_path = path;
    return 0;
}

int mountpoint_check(const char *given, const char *device, char **ret_path)
{
    char *path;
    struct mountinfo mounted;
    int r = mountpoint_find(given, &path, &mounted);
    if (r < 0)
        return r;
    if (!is_of(&mounted, device))
        r = check_answering(given, path, &mounted);
    mountinfo_clear(&mounted);
    if (r < 0) {
        free(path);
        return r;
    }
    *ret_path = path;
    return 0;
}

static void run_fusermount(const char *path)
{
    pid_t pid = fork();
    if (pid == 0) {
        execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", path, (char *)NULL);
        _exit(127);
    }
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        continue;
}

static void unmount(const char *path)
{
    if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno == EPERM)
        run_fusermount(path);
}

/* One mount, if it is to be taken away. 1: it was; 0: what is there works, or nothing is; -ENOTCONN: it is not ours. */
static int clean_one(const char *path, const char *device)
{
    struct mountinfo mounted;
    struct stat st;
    int r = 1;
    find_mounted(path, &mounted);
    if (is_of(&mounted, device)) {
        umount2(path, MNT_FORCE | UMOUNT_NOFOLLOW); /* ends what waits for an answer; unmounts only when nobody is there */
    } else if (stat(path, &st) == 0 || errno != ENOTCONN) {
        r = 0;
    } else if (!mountinfo_is_ours(&mounted)) {
        log_error("%s is a mount of type %s that does not answer: unmount it (umount -l)", path, mounted.type);
        r = -ENOTCONN;
    }
    if (r > 0) {
        log_notice("%s is a mount that a glance-cache-fs left behind: unmounting it", path);
        unmount(path);
    }
    mountinfo_clear(&mounted);
    return r;
}

int mountpoint_clean(const char *path, const char *device)
{
    int r = 1;
    for (int tries = 0; tries < STACKED_MAX && r > 0; tries++)
        r = clean_one(path, device);
    if (r > 0)
        log_error("%s: what a glance-cache-fs left mounted there does not go away: unmount it (umount -l)", path);
    return r > 0 ? -ENOTCONN : r;
}
