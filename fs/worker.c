/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and stopping the parts in their order: store, catalogue, ledger, world (the view as handlers), engine, loop.
 *
 * One thread calls; no lock.
 */
#include "config-auto.h"

#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "catalogue.h"
#include "clock.h"
#include "engine.h"
#include "fuse_io.h"
#include "fuse_loop.h"
#include "fuse_ops.h"
#include "ledger.h"
#include "log.h"
#include "store.h"

enum { THREADS = 8 };

struct worker {
    const struct config *config;
    struct store *store;
    struct catalogue *catalogue;
    struct ledger *ledger;
    struct fuse_world *world;
    struct engine *engine;
    struct fuse_loop *loop;
};

/* A mount that is not new: the kernel knows inodes by the catalogue's row ids. */
static bool mount_is_old(struct ledger *ledger)
{
    unsigned char init[LEDGER_INIT_MAX];
    uint64_t agreed;
    return ledger_get_init(ledger, init, sizeof(init), &agreed) > 0;
}

static int open_catalogue(struct worker *w)
{
    const char *path = store_catalogue_path(w->store);
    int r = catalogue_open(path, &w->catalogue);
    if (r == -EPROTONOSUPPORT) {
        log_error("%s was written by a newer glance-cache-fs: use that one, or move the file away to have it built anew", path);
        return r;
    }
    if (r != -EBADMSG)
        return r < 0 ? log_errno(r, "the catalogue %s cannot be opened", path) : 0;

    log_warning("the catalogue %s is damaged: it is set aside and built anew from the files in the cache directory", path);
    r = store_set_catalogue_aside(w->store, clock_now());
    if (r < 0)
        return log_errno(r, "the damaged catalogue %s cannot be set aside: move it away", path);
    if (mount_is_old(w->ledger))
        return -EBADMSG;
    r = catalogue_open(path, &w->catalogue);
    return r < 0 ? log_errno(r, "a new catalogue %s cannot be made", path) : 0;
}

static int open_parts(struct worker *w, const struct worker_mount *mount)
{
    const char *where = config_where(w->config, "DEFAULT", "image_cache_dir");
    int r = ledger_open(mount->ledger_fd, &w->ledger);
    if (r < 0)
        return log_errno(r, "the memory shared with the keeper cannot be used");
    r = store_open(w->config->image_cache_dir, &w->store);
    if (r < 0)
        return log_errno(r, "%s: the cache directory %s cannot be used", where, w->config->image_cache_dir);
    return open_catalogue(w);
}

static int start_engine(struct worker *w, const struct worker_mount *mount)
{
    char message[CONFIG_MESSAGE_MAX];
    int r = fuse_world_new(w->ledger, mount->allow_other, mount->debug, &w->world);
    if (r < 0)
        return log_errno(r, "the file system cannot be set up");
    r = engine_start(w->config, w->catalogue, w->store, w->ledger, fuse_world_notify(w->world), &w->engine, message);
    if (r < 0) {
        log_error("%s", message);
        return r;
    }
    fuse_world_start(w->world, w->engine, w->catalogue, mount->passthrough, mount->why_no_passthrough);
    return 0;
}

static int start_loop(struct worker *w, const struct worker_mount *mount, int ended_fd)
{
    int r = fuse_io_attach(fuse_world_session(w->world), mount->fuse_fd, w->ledger, mount->want_passthrough);
    if (r < 0)
        return log_errno(r, "the connection to the kernel cannot be used");
    r = fuse_loop_start(fuse_world_session(w->world), THREADS, ended_fd, &w->loop);
    return r < 0 && r != -ENODEV ? log_errno(r, "the threads that serve the mount cannot be started") : r;
}

int worker_start(const struct config *config, const struct worker_mount *mount, int ended_fd, struct worker **ret)
{
    struct worker *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return log_errno(-ENOMEM, "the worker cannot be started");
    w->config = config;
    int r = open_parts(w, mount);
    if (r == 0)
        r = start_engine(w, mount);
    if (r == 0)
        r = start_loop(w, mount, ended_fd);
    if (r < 0) {
        worker_stop(w, false);
        return r;
    }
    ledger_count(w->ledger, COUNT_WORKER_STARTS, 1);
    *ret = w;
    return 0;
}

void worker_stop(struct worker *w, bool hand_over)
{
    if (w->loop != NULL)
        fuse_loop_stop(w->loop);
    if (hand_over)
        fuse_world_hand_over(w->world);
    if (w->engine != NULL)
        engine_stop(w->engine);
    if (w->world != NULL)
        fuse_world_free(w->world);
    catalogue_close(w->catalogue);
    ledger_close(w->ledger);
    store_close(w->store);
    free(w);
}
