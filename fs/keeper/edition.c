/* SPDX-License-Identifier: Apache-2.0 */
/* Editions: program and configuration, held so that what is on disk can change under a worker's restart. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/private.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

struct edition *edition_ref(struct edition *e)
{
    e->refs++;
    return e;
}

void edition_unref(struct edition *e)
{
    if (e == NULL || --e->refs > 0)
        return;
    if (e->program_fd >= 0)
        close(e->program_fd);
    if (e->config_fd >= 0)
        close(e->config_fd);
    config_free(e->config);
    free(e);
}

static int copy_all(int from, int to)
{
    ssize_t n;
    size_t length = 0;
    char buffer[4096];
    while ((n = read(from, buffer, sizeof(buffer))) > 0) {
        length += (size_t)n;
        if (length > CONFIG_BYTES_MAX)
            return -EFBIG;
        if (write(to, buffer, (size_t)n) != n)
            return -EIO;
    }
    return n < 0 ? -errno : 0;
}

/* The file at PATH, copied into memory. */
static int copy_config(const char *path, int *ret_fd)
{
    int from = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (from < 0)
        return -errno;
    int to = memfd_create("glance-cache.conf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int r = to < 0 ? -errno : copy_all(from, to);
    /* Each worker reads it before it gives its privileges up. */
    if (r == 0 && fcntl(to, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        r = -errno;
    close(from);
    if (r < 0) {
        if (to >= 0)
            close(to);
        return r;
    }
    *ret_fd = to;
    return 0;
}

static int load_config(struct edition *e, const char *config_path)
{
    char message[CONFIG_MESSAGE_MAX], copy[32];
    int r = copy_config(config_path, &e->config_fd);
    if (r == 0) {
        snprintf(copy, sizeof(copy), "/proc/self/fd/%d", e->config_fd);
        r = config_load_copy(copy, config_path, &e->config, message);
    } else if (config_load(config_path, &e->config, message) == 0) { /* for its message */
        snprintf(message, sizeof(message), "%s: the configuration cannot be read: %s", config_path, error_text(r));
    }
    if (r < 0)
        log_error("%s", message);
    return r;
}

static int open_program(struct edition *e, const char *program_path)
{
    e->program_fd = open(program_path, O_RDONLY | O_CLOEXEC);
    return e->program_fd < 0 ? log_errno(-errno, "the program %s cannot be opened", program_path) : 0;
}

/* An edition without its parts. */
static struct edition *empty(void)
{
    struct edition *e = calloc(1, sizeof(*e));
    if (e == NULL) {
        log_errno(-ENOMEM, "another worker cannot be started");
        return NULL;
    }
    e->refs = 1;
    e->program_fd = -1;
    e->config_fd = -1;
    return e;
}

static int finish(struct edition *e, int r, struct edition **ret)
{
    if (r < 0)
        edition_unref(e);
    else
        *ret = e;
    return r;
}

int edition_new(const char *program_path, const char *config_path, struct edition **ret)
{
    struct edition *e = empty();
    if (e == NULL)
        return -ENOMEM;
    int r = load_config(e, config_path);
    return finish(e, r < 0 ? r : open_program(e, program_path), ret);
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* What the keeper has acted upon when it mounted. */
static int check_unchanged(const struct config *old, const struct config *new)
{
    const char *option = strcmp(old->image_cache_dir, new->image_cache_dir) != 0 ? "image_cache_dir"
                         : !is_same(old->user, new->user)                          ? "user"
                         : !is_same(old->group, new->group)                        ? "group"
                                                                                   : NULL;
    if (option == NULL)
        return 0;
    log_error("%s: %s cannot change while it is mounted: unmount and mount again", config_where(new, "DEFAULT", option), option);
    return -EINVAL;
}

int edition_reload(const struct edition *old, const char *config_path, struct edition **ret)
{
    struct edition *e = empty();
    if (e == NULL)
        return -ENOMEM;
    e->program_fd = fcntl(old->program_fd, F_DUPFD_CLOEXEC, 3);
    int r = e->program_fd < 0 ? log_errno(-errno, "another worker cannot be started") : load_config(e, config_path);
    return finish(e, r == 0 ? check_unchanged(old->config, e->config) : r, ret);
}

int edition_upgrade(const struct edition *old, const char *program_path, struct edition **ret)
{
    char message[CONFIG_MESSAGE_MAX], copy[32];
    struct edition *e = empty();
    if (e == NULL)
        return -ENOMEM;
    e->config_fd = fcntl(old->config_fd, F_DUPFD_CLOEXEC, 3);
    snprintf(copy, sizeof(copy), "/proc/self/fd/%d", old->config_fd);
    int r = e->config_fd < 0 ? -errno : config_load_copy(copy, old->config->path, &e->config, message);
    if (r < 0)
        log_errno(r, "another worker cannot be started");
    return finish(e, r < 0 ? r : open_program(e, program_path), ret);
}
