/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's start: what is looked at before anything is changed, then the lock and the mount. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/private.h"
#include "store/store.h"

/* ---- before anything is changed */

/* What the mount shows as its device, by which a mount of this configuration is known. */
static const char *device(const struct keeper *k)
{
    return k->line->has_fsname ? "" : k->config_path;
}

/* The directory must be there: a typing mistake is not to fill the wrong disk. */
static int check_cache_dir(const struct config *config)
{
    const char *dir = config->image_cache_dir;
    struct stat st;
    int r = stat(dir, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    return r < 0 ? log_errno(r, "%s: image_cache_dir = %s: make this directory, or name another",
                             config_where(config, "DEFAULT", "image_cache_dir"), dir)
                 : 0;
}

static int take_signal_fd(struct keeper *k)
{
    static const int taken[] = {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGUSR2};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
        sigaddset(&set, taken[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    k->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return k->signal_fd < 0 ? log_errno(-errno, "signals cannot be taken") : 0;
}

/* When memory is short the kernel takes a worker before its keeper: a worker can be replaced. */
static void prefer_to_live(struct keeper *k)
{
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, k->oom_score, sizeof(k->oom_score) - 1) : -1;
    k->oom_score[n > 0 ? n : 0] = '\0';
    if (fd >= 0 && geteuid() == 0 && write(fd, "-900", 4) < 0)
        errno = 0; /* not allowed in this container */
    if (fd >= 0)
        close(fd);
}

/* Symbolic links stay: on SIGHUP they may lead elsewhere. */
static char *absolute(const char *path)
{
    char *folder = getcwd(NULL, 0), *joined = NULL;
    if (*path == '/' || folder == NULL)
        joined = strdup(path);
    else if (asprintf(&joined, "%s/%s", folder, path) < 0)
        joined = NULL;
    free(folder);
    return joined;
}

/* A worker that needs what lies under its own mount would wait for itself. */
static int check_apart(const struct keeper *k, const char *section, const char *option, const char *path)
{
    char *real = path != NULL ? realpath(path, NULL) : NULL;
    size_t length = strlen(k->path);
    bool under = real != NULL && strncmp(real, k->path, length) == 0 && (real[length] == '/' || real[length] == '\0');
    free(real);
    if (!under)
        return 0;
    log_error("%s: %s = %s lies under the mount point %s: name another mount point", config_where(k->edition->config, section, option),
              option, path, k->path);
    return -EINVAL;
}

/* All that can be wrong is looked at before anything is changed. */
int keeper_set_up(struct keeper *k)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n < 0)
        return log_errno(-errno, "the path of this program cannot be found out");
    program[n] = '\0';
    k->program_path = strdup(program);
    k->config_path = absolute(k->line->config);
    if (k->program_path == NULL || k->config_path == NULL)
        return log_errno(-ENOMEM, "starting");
    int r = edition_new("/proc/self/exe", k->config_path, &k->edition);
    if (r < 0)
        return r;
    log_set_level(k->line->debug ? LOG_DEBUG : log_level_by_name(k->edition->config->log_level));
    r = check_cache_dir(k->edition->config);
    if (r == 0)
        r = mountpoint_check(k->line->mountpoint, device(k), &k->path);
    if (r == 0)
        r = check_apart(k, "DEFAULT", "image_cache_dir", k->edition->config->image_cache_dir);
    if (r == 0)
        r = check_apart(k, "backend", "path", k->edition->config->directory);
    if (r == 0)
        r = mount_new(k->line, k->config_path, &k->mount);
    if (r == 0)
        r = take_signal_fd(k);
    if (r == 0 && control_new(&k->control) < 0)
        log_warning("--reload and --upgrade will not find this mount: there is no memory or descriptor");
    absence_watch(k);
    prefer_to_live(k);
    return r;
}

/* ---- the mount */

void keeper_take_down(struct keeper *k)
{
    mount_down(k->mount);
    backings_free(k->backings);
    ledger_close(k->ledger);
    if (k->ledger_fd >= 0)
        close(k->ledger_fd);
    if (k->arrivals_fd >= 0)
        close(k->arrivals_fd);
    if (k->fuse_fd >= 0)
        close(k->fuse_fd);
    k->mount = NULL;
    k->backings = NULL;
    k->ledger = NULL;
    k->ledger_fd = k->arrivals_fd = k->fuse_fd = -1;
}

/* What outlives a worker. */
static int make_memory(struct keeper *k)
{
    int r = arrivals_create(&k->arrivals_fd);
    if (r == 0)
        r = ledger_create(&k->ledger_fd);
    if (r == 0)
        r = ledger_open(k->ledger_fd, &k->ledger);
    return r < 0 ? log_errno(r, "the memory for the workers cannot be made") : 0;
}

/* The mount, from k->mount made by mount_new(). */
int keeper_put_up(struct keeper *k)
{
    int r = make_memory(k);
    if (r == 0)
        r = mountpoint_clean(k->path, device(k));
    if (r == 0)
        r = mount_up(k->mount, k->path, &k->fuse_fd);
    if (r == 0 && (r = backings_new(k->fuse_fd, k->edition->config->image_cache_dir, &k->backings)) < 0)
        r = log_errno(r, "%s cannot be mounted", k->path);
    return r;
}

/* Before anything in it is changed. */
static int recognise(struct keeper *k)
{
    const struct config *config = k->edition->config;
    const char *where = config_where(config, "DEFAULT", "image_cache_dir"), *dir = config->image_cache_dir;
    char found[NAME_MAX + 1];
    int r = store_recognise(dir, config->image_cache_sqlite_db, found);
    if (r == -ENOTEMPTY)
        log_error(STORE_NO_CACHE, where, dir, found);
    else if (r < 0)
        log_errno(r, "%s: the cache directory %s cannot be used", where, dir);
    return r;
}

static int take_lock(struct keeper *k)
{
    const struct config *config = k->edition->config;
    const char *where = config_where(config, "DEFAULT", "image_cache_dir"), *dir = config->image_cache_dir;
    int pid = 0, r = store_lock(dir, &k->lock_fd, &pid);
    if (r == -EWOULDBLOCK && pid > 0)
        log_error("%s: %s is in use by another glance-cache-fs, process %d: unmount that one, or name another directory", where, dir, pid);
    else if (r == -EWOULDBLOCK)
        log_error("%s: %s is in use by another process: end that one, or name another directory", where, dir);
    else if (r == -EINVAL)
        log_error("%s: %s/.lock is not a file of its own (a link, or a file with a second name): remove it", where, dir);
    else if (r < 0)
        log_errno(r, "%s: the cache directory %s cannot be locked", where, dir);
    return r;
}

int keeper_mount_first(struct keeper *k)
{
    char message[CONFIG_MESSAGE_MAX];
    struct service_user user;
    int r = service_user_find(k->edition->config, &user, message);
    if (r < 0) {
        log_error("%s", message);
        return r;
    }
    r = recognise(k);
    if (r == 0)
        r = take_lock(k);
    if (r == 0)
        r = cache_directory_give(k->edition->config->image_cache_dir, &user);
    return r == 0 ? keeper_put_up(k) : r;
}
