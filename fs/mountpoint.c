/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted where, by /proc/self/mountinfo; stale mounts are taken away. */
#include "config-auto.h"

#include "mountpoint.h"

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

#include "log.h"

#define OUR_TYPE "fuse.glance-cache-fs"

enum { STACKED_MAX = 16 }; /* stale mounts over one another */

/* In place: mountinfo's \040 and the like. */
static void unescape(char *text)
{
    char *to = text;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\\' && c[1] >= '0' && c[1] <= '3' && c[2] != '\0' && c[3] != '\0') {
            *to++ = (char)((c[1] - '0') << 6 | (c[2] - '0') << 3 | (c[3] - '0'));
            c += 3;
        } else {
            *to++ = *c;
        }
    }
    *to = '\0';
}

/* What is mounted last at a path. */
struct mounted {
    char type[64]; /* "": nothing */
    char device[PATH_MAX];
};

static void find_mounted(const char *path, struct mounted *ret)
{
    char *line = NULL, point[PATH_MAX];
    size_t size = 0;
    struct mounted found;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    *ret = (struct mounted){.type = ""};
    while (file != NULL && getline(&line, &size, file) > 0) {
        const char *rest = strstr(line, " - ");
        if (rest == NULL || sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 ||
            sscanf(rest, " - %63s %4095s", found.type, found.device) != 2)
            continue;
        unescape(point);
        unescape(found.device);
        if (strcmp(point, path) == 0)
            *ret = found;
    }
    free(line);
    if (file != NULL)
        fclose(file);
}

static bool is_ours(const struct mounted *m)
{
    return strcmp(m->type, OUR_TYPE) == 0;
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

static int check_answering(const char *given, char *path, const struct mounted *mounted)
{
    struct stat st;
    int r = stat(path, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if (r == 0 && is_ours(mounted)) {
        log_error("%s is mounted already, by another glance-cache-fs: unmount it, or name another mount point", given);
        return -EBUSY;
    }
    return r < 0 && r != -ENOTCONN ? log_errno(r, "the mount point %s cannot be used", given) : 0;
}

int mountpoint_check(const char *given, const char *device, char **ret_path)
{
    char *path;
    struct mounted mounted;
    int r = absolute(given, &path);
    if (r < 0)
        return log_errno(r, "the mount point %s cannot be used", given);
    struct stat st;
    if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode)) { /* nothing is mounted on a symbolic link itself */
        free(path);
        path = realpath(given, NULL);
        if (path == NULL)
            return log_errno(-errno, "the mount point %s cannot be used", given);
    }
    find_mounted(path, &mounted);
    if (!is_ours(&mounted) || strcmp(mounted.device, device) != 0)
        r = check_answering(given, path, &mounted);
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

int mountpoint_clean(const char *path, const char *device)
{
    struct mounted mounted;
    struct stat st;
    for (int tries = 0; tries < STACKED_MAX; tries++) {
        find_mounted(path, &mounted);
        if (is_ours(&mounted) && strcmp(mounted.device, device) == 0)
            umount2(path, MNT_FORCE | UMOUNT_NOFOLLOW); /* ends what waits for an answer; unmounts only when nobody is there */
        else if (stat(path, &st) == 0 || errno != ENOTCONN)
            return 0;
        else if (!is_ours(&mounted))
            break;
        log_notice("%s is a mount that a glance-cache-fs left behind: unmounting it", path);
        unmount(path);
    }
    log_error("%s is a mount of type %s that does not answer: unmount it (umount -l)", path, mounted.type);
    return -ENOTCONN;
}
