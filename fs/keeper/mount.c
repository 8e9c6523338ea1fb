/* SPDX-License-Identifier: Apache-2.0 */
/* Mounting and unmounting by libfuse, whose messages go into a buffer, to become part of our line. */
#include "config-auto.h"

#include "keeper/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
#include <fuse_log.h>

#include "base/log.h"
#include "keeper/mountpoint.h"

struct mount {
    struct fuse_session *session;
    char *path; /* NULL: not mounted */
    char *device;
};

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
                           line->allow_other || line->allow_root ? ",default_permissions" : "", *line->mount_options != '\0' ? "," : "",
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

int mount_device(const struct mount *m, char ret[32])
{
    struct statx st;
    if (m == NULL || m->path == NULL)
        return -ENOTCONN;
    if (statx(AT_FDCWD, m->path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE, &st) < 0)
        return -errno;
    snprintf(ret, 32, "%u:%u", st.stx_dev_major, st.stx_dev_minor);
    return 0;
}

void mount_read_ahead(const struct mount *m)
{
    enum { KIB = 256 };
    char path[80], device[32], text[24] = "";
    if (mount_device(m, device) < 0)
        return;
    snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strtoul(text, NULL, 10) < KIB) {
        snprintf(text, sizeof(text), "%d", KIB);
        if (pwrite(fd, text, strlen(text), 0) < 0)
            log_debug("%s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
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
