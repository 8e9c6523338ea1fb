/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting and unmounting. libfuse's messages go into a buffer, to become part of our line.
 */
#include "config-auto.h"

#include "mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <fuse_log.h>

#include "log.h"

#define OUR_TYPE "fuse.glance-cache-fs"

enum { STACKED_MAX = 16 }; /* stale mounts over one another */

struct mount {
    struct fuse_session *session;
    char *path; /* NULL: not mounted */
    char *device;
};

/* ---- what is mounted where */

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

/* ---- the mount */

static char fuse_message[300]; /* libfuse's last error, without its line break */

__attribute__((format(printf, 2, 0))) static void keep_message(enum fuse_log_level level, const char *format, va_list args)
{
    if (level > FUSE_LOG_ERR)
        return;
    vsnprintf(fuse_message, sizeof(fuse_message), format, args);
    fuse_message[strcspn(fuse_message, "\n")] = '\0';
}

static const char *message_or(const char *other)
{
    const char *text = strncmp(fuse_message, "fuse: ", 6) == 0 ? fuse_message + 6 : fuse_message;
    return *text != '\0' ? text : other;
}

/* VALUE as it stands in a list of options. */
static int escape(const char *value, char **ret)
{
    char *out = malloc(strlen(value) * 2 + 1), *to = out;
    if (out == NULL)
        return -ENOMEM;
    for (; *value != '\0'; value++) {
        if (*value == ',' || *value == '\\')
            *to++ = '\\';
        *to++ = *value;
    }
    *to = '\0';
    *ret = out;
    return 0;
}

static int all_options(const struct command_line *line, const char *config_path, char **ret)
{
    char *device = NULL;
    int r = line->has_fsname ? 0 : escape(config_path, &device);
    if (r == 0 && asprintf(ret, "subtype=glance-cache-fs%s%s%s%s%s", device != NULL ? ",fsname=" : "", device != NULL ? device : "",
                           line->allow_other ? ",default_permissions" : "", *line->mount_options != '\0' ? "," : "",
                           line->mount_options) < 0)
        r = -ENOMEM;
    free(device);
    return r;
}

int mount_new(const struct command_line *line, const char *config_path, struct mount **ret)
{
    static const struct fuse_lowlevel_ops none;
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct mount *m = calloc(1, sizeof(*m));
    char *options = NULL;
    if (m != NULL)
        m->device = strdup(line->has_fsname ? "" : config_path);
    int r = m == NULL || m->device == NULL ? -ENOMEM : all_options(line, config_path, &options);
    fuse_set_log_func(keep_message);
    fuse_message[0] = '\0';
    if (r == 0 && (fuse_opt_add_arg(&args, "glance-cache-fs") < 0 || fuse_opt_add_arg(&args, "-o") < 0 || fuse_opt_add_arg(&args, options) < 0))
        r = -ENOMEM;
    if (r < 0)
        log_errno(r, "the mount cannot be set up");
    if (r == 0 && (m->session = fuse_session_new(&args, &none, sizeof(none), NULL)) == NULL) {
        log_error("%s: see glance-cache-fs(8) and mount.fuse3(8)", message_or("the mount options are not understood"));
        r = -EINVAL;
    }
    free(options);
    fuse_opt_free_args(&args);
    if (r < 0) {
        mount_down(m);
        return r;
    }
    *ret = m;
    return 0;
}

int mount_up(struct mount *m, const char *path, int *ret_fd)
{
    fuse_message[0] = '\0';
    m->path = strdup(path);
    if (m->path == NULL || fuse_session_mount(m->session, path) < 0) {
        free(m->path);
        m->path = NULL;
        log_error("%s cannot be mounted: %s", path, message_or("fusermount3 says why"));
        return -EIO;
    }
    int fd = fcntl(fuse_session_fd(m->session), F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return log_errno(-errno, "%s cannot be mounted", path);
    *ret_fd = fd;
    return 0;
}

void mount_down(struct mount *m)
{
    if (m == NULL)
        return;
    if (m->path != NULL) {
        fuse_session_unmount(m->session);
        mountpoint_clean(m->path, m->device); /* a connection that was aborted leaves its mount */
    }
    if (m->session != NULL)
        fuse_session_destroy(m->session);
    free(m->path);
    free(m->device);
    free(m);
}
