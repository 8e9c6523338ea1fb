/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --check: says all that is wrong with a configuration, or what it comes to. With --online an engine of its own, over a cache directory that
 * is made for it and removed again, logs in and lists the backend as a mount would. One thread, beside the engine's.
 */
#include "config-auto.h"

#include "worker/check.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "backends/backend.h"
#include "base/log.h"
#include "catalogue/catalogue.h"
#include "engine/engine.h"
#include "process/arrivals.h"
#include "process/ledger.h"
#include "store/store.h"

static void tell(void *context, const char *message)
{
    unsigned *mistakes = context;
    (*mistakes)++;
    log_error("%s", message);
}

static int check_folder(const struct config *config)
{
    struct stat st;
    const char *dir = config->image_cache_dir, *where = config_where(config, "DEFAULT", "image_cache_dir");
    char found[NAME_MAX + 1];
    int r = stat(dir, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    if (r < 0)
        return log_errno(r, "%s: image_cache_dir = %s", where, dir);
    r = store_recognise(dir, config->image_cache_sqlite_db, found);
    if (r == -ENOTEMPTY)
        log_error(STORE_NO_CACHE, where, dir, found);
    return r == -EACCES ? 0 : r; /* the keeper's user may be another */
}

/* ---- what it comes to */

static const char *file_system_of(const char *dir)
{
    static const struct { unsigned long type; const char *name; } all[] = {
        {0xef53, "ext4"}, {0x58465342, "XFS"}, {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"}, {0x794c7630, "overlay"}, {0x6969, "NFS"},
        {0x2fc12fc1, "ZFS"}, {0xff534d42, "CIFS"}, {0x65735546, "FUSE"},
    };
    struct statfs fs;
    for (size_t i = 0; statfs(dir, &fs) == 0 && i < sizeof(all) / sizeof(all[0]); i++) {
        if ((unsigned long)fs.f_type == all[i].type)
            return all[i].name;
    }
    return "another file system";
}

static const char *passthrough_of(const struct config *config)
{
    struct utsname name;
    int major = 0, minor = 0;
    if (uname(&name) == 0)
        sscanf(name.release, "%d.%d", &major, &minor);
    return config->passthrough == PASSTHROUGH_OFF                               ? "no passthrough: passthrough = off"
           : major < 6 || (major == 6 && minor < 9)                             ? "no passthrough: it needs Linux 6.9"
           : strcmp(file_system_of(config->image_cache_dir), "overlay") == 0    ? "no passthrough: not over an overlay"
                                                                                : "passthrough, when root mounts it";
}

static void tell_good(const struct config *config, const struct backend_ops *ops, const struct backend *backend)
{
    static const char units[] = " KMGTPE";
    uint64_t limit = config->image_cache_max_size, rest = limit;
    unsigned endpoints = ops->endpoints(backend), unit = 0;
    for (; rest >= 1024 && rest % 1024 == 0 && unit < sizeof(units) - 2; unit++)
        rest /= 1024;
    printf("ok: %s, %u endpoint%s; cache of %llu%.*s in %s on %s; %s\n", ops->type, endpoints, endpoints == 1 ? "" : "s",
           (unsigned long long)rest, unit > 0, &units[unit], config->image_cache_dir, file_system_of(config->image_cache_dir),
           passthrough_of(config));
}

/* ---- online */

/* Who waits here for the engine; known there until the engine has stopped. */
struct asker {
    struct waiter waiter; /* the first member */
    sem_t ended;
    int status;
};

struct trial {
    char dir[PATH_MAX];
    struct config *config;
    struct store *store;
    struct catalogue *catalogue;
    struct ledger *ledger;
    struct arrivals *arrivals;
    int ledger_fd, arrivals_fd;
    struct engine *engine;
    struct asker asker;
};

static void woken(struct waiter *w, int status)
{
    struct asker *a = (struct asker *)w;
    a->status = status;
    sem_post(&a->ended);
}

/* There is no kernel that would have to forget something. */
static void no_name(void *context, const char *name)
{
    (void)context;
    (void)name;
}

static void no_bytes(void *context, int64_t row, uint64_t offset, uint64_t length)
{
    (void)context;
    (void)row;
    (void)offset;
    (void)length;
}

static void no_stop(void *context)
{
    (void)context;
}

static int open_parts(struct trial *t)
{
    const char *parent = getenv("TMPDIR");
    snprintf(t->dir, sizeof(t->dir), "%s/glance-cache-check-XXXXXX", parent != NULL && parent[0] == '/' ? parent : "/tmp");
    if (mkdtemp(t->dir) == NULL) {
        t->dir[0] = '\0';
        return -errno;
    }
    char *own = strdup(t->dir);
    if (own == NULL)
        return -ENOMEM;
    free(t->config->image_cache_dir);
    t->config->image_cache_dir = own;
    int r = store_open(t->dir, &t->store);
    if (r == 0)
        r = catalogue_open(store_catalogue_path(t->store), &t->catalogue);
    if (r == 0)
        r = ledger_create(&t->ledger_fd);
    if (r == 0)
        r = ledger_open(t->ledger_fd, &t->ledger);
    if (r == 0)
        r = arrivals_create(&t->arrivals_fd);
    return r < 0 ? r : arrivals_open(t->arrivals_fd, &t->arrivals);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
    (void)st;
    (void)kind;
    (void)where;
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

static void close_parts(struct trial *t)
{
    if (t->engine != NULL)
        engine_stop(t->engine);
    catalogue_close(t->catalogue);
    arrivals_close(t->arrivals);
    ledger_close(t->ledger);
    store_close(t->store);
    if (t->ledger_fd >= 0)
        close(t->ledger_fd);
    if (t->arrivals_fd >= 0)
        close(t->arrivals_fd);
    if (t->dir[0] != '\0' && nftw(t->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0)
        log_errno(-errno, "%s cannot be removed", t->dir);
}

static void on_signal(int number)
{
    (void)number; /* the wait ends */
}

static int wait_for(struct asker *a)
{
    return sem_wait(&a->ended) < 0 ? -errno : 0;
}

/* As a reader asks for the first byte. */
static int read_one(struct trial *t, int64_t row, struct asker *a)
{
    struct image *image;
    struct image_file *file = NULL;
    uint64_t handle, length;
    bool passthrough;
    int r = ledger_open_handle(t->ledger, row, (uint32_t)geteuid(), 1, false, false, &handle, &passthrough);
    if (r < 0)
        return r;
    r = engine_open(t->engine, row, &image);
    if (r == 0) {
        r = engine_read(image, 0, 1, &a->waiter, &file, &length);
        if (r == ENGINE_PARKED && (r = wait_for(a)) == 0)
            r = a->status;
        image_file_put(file);
        engine_put(image);
    }
    ledger_close_handle(t->ledger, handle, row);
    engine_close(t->engine, row);
    return r < 0 ? r : 0;
}

/* An image that it lists is asked for, or else one that no backend has: a listing alone says little, and not all backends list. */
static int look_up_one(struct trial *t, struct asker *a, char *ret_text, size_t size)
{
    struct image_row row;
    char name[IMAGE_ID_MAX + 1] = "glance-cache-fs-check";
    bool has_one = catalogue_page(t->catalogue, CATALOGUE_IMAGES, 0, &row, 1) == 1;
    if (has_one)
        memcpy(name, row.name, sizeof(name));
    int r = engine_lookup(t->engine, name, &a->waiter, &row);
    if (r == ENGINE_PARKED && (r = wait_for(a)) == 0)
        r = engine_lookup_result(t->engine, name, a->status, &row);
    if (has_one && r == 0)
        r = read_one(t, row.row, a);
    else if (!has_one && r == -ENOENT)
        r = 0;
    if (r == -EINTR)
        return r;
    if (r < 0)
        snprintf(ret_text, size, "%s cannot be had: %s", name, error_text(r));
    else if (has_one)
        snprintf(ret_text, size, "%s, the first, can be had (%llu bytes)", name, (unsigned long long)row.meta.size);
    else
        snprintf(ret_text, size, "asked for an image that nobody has, it says so");
    return r;
}

/* What each endpoint answered. Returns how many failed. */
static unsigned tell_endpoints(struct trial *t)
{
    json_t *status = engine_status(t->engine), *endpoint;
    unsigned failed = 0;
    size_t i;
    json_array_foreach(json_object_get(json_object_get(status, "backend"), "endpoints"), i, endpoint) {
        const char *name = json_string_value(json_object_get(endpoint, "endpoint")), *state = json_string_value(json_object_get(endpoint, "state"));
        if (state == NULL || strcmp(state, "failing") != 0)
            continue;
        failed++;
        log_error("%s: %s", name, json_string_value(json_object_get(endpoint, "last_error")));
    }
    json_decref(status);
    return failed;
}

static int ask(struct trial *t)
{
    struct asker *a = &t->asker;
    struct catalogue_totals totals = {0};
    char first[IMAGE_ID_MAX + 120];
    a->waiter.wake = woken;
    sem_init(&a->ended, 0, 0);
    int r = engine_list(t->engine, &a->waiter);
    if (r == ENGINE_PARKED && wait_for(a) < 0)
        return -EINTR;
    int listing = engine_list_status(t->engine);
    catalogue_totals(t->catalogue, &totals);
    r = look_up_one(t, a, first, sizeof(first));
    unsigned failed = tell_endpoints(t);
    if (r == -EINTR)
        return r;
    if (listing < 0)
        log_error("the backend cannot be listed: %s", error_text(listing));
    else if (r < 0)
        log_error("the backend lists %llu images, but %s", (unsigned long long)totals.known, first);
    else
        printf("ok: the backend lists %llu image%s; %s\n", (unsigned long long)totals.known, totals.known == 1 ? "" : "s", first);
    return listing < 0 ? listing : r < 0 ? r : failed > 0 ? -EHOSTUNREACH : 0;
}

static int try_online(struct config *config, const struct backend_ops *ops, struct backend *backend)
{
    static const struct kernel_notify nobody = {.forget_name = no_name, .forget_bytes = no_bytes, .stop = no_stop};
    struct trial t = {.config = config, .ledger_fd = -1, .arrivals_fd = -1};
    static const int ending[] = {SIGINT, SIGTERM, SIGHUP};
    for (size_t i = 0; i < sizeof(ending) / sizeof(ending[0]); i++)
        sigaction(ending[i], &(struct sigaction){.sa_handler = on_signal}, NULL); /* no SA_RESTART: the folder goes, too */
    int r = open_parts(&t);
    if (r < 0) {
        ops->close(backend);
        log_errno(r, "trying the backend in a cache of its own (TMPDIR)");
    } else {
        struct engine_parts parts = {.config = config, .ops = ops, .backend = backend, .catalogue = t.catalogue, .store = t.store,
                                     .ledger = t.ledger, .arrivals = t.arrivals, .notify = &nobody};
        r = engine_start(&parts, &t.engine);
        r = r < 0 ? log_errno(r, "the engine cannot be started") : ask(&t);
    }
    close_parts(&t);
    return r;
}

int worker_check(const char *path, bool online)
{
    char message[CONFIG_MESSAGE_MAX];
    struct config *config = NULL;
    const struct backend_ops *ops;
    struct backend *backend;
    unsigned mistakes = 0;
    int r = config_load_telling(path, tell, &mistakes, &config, message);
    if (r < 0) {
        if (mistakes > 1)
            log_error("%u mistakes", mistakes);
        return r;
    }
    log_set_level(LOG_ERR); /* what it comes to is said here */
    config->fetch_policy = FETCH_DEMAND;
    r = backend_open(config, &ops, &backend, message);
    if (r < 0)
        log_error("%s", message);
    int folder = check_folder(config);
    if (r == 0 && folder == 0) {
        tell_good(config, ops, backend);
        if (online && (r = fflush(stdout)) == 0)
            r = try_online(config, ops, backend); /* which has the backend */
        else
            ops->close(backend);
    } else if (r == 0) {
        ops->close(backend);
    }
    config_free(config);
    return r < 0 ? r : folder;
}
