/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker is made of: opened, and connected with each other and the kernel. The main thread's. */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"
#include "fuse/io.h"
#include "process/link.h"
#include "worker/private.h"

enum { THREADS = 8 };

/* A mount that is not new: the kernel knows inodes by the catalogue's row ids. */
static bool mount_is_old(struct ledger *ledger)
{
    unsigned char init[LEDGER_INIT_MAX];
    uint64_t agreed;
    return ledger_get_init(ledger, init, sizeof(init), &agreed) > 0;
}

/*
 * The disk of the cache directory cannot be used. The mount goes on without it: what is not in the cache, or cannot be read there, is served
 * straight through. Not where it never worked: who mounts is told then.
 */
static bool goes_without(const struct worker *w, int error)
{
    bool wrong = error == -ENOMEM || error == -EISDIR || error == -EACCES || error == -EPERM; /* no disk does that */
    return mount_is_old(w->ledger) ? !wrong : error == -ENOSPC || error == -EDQUOT || error == -EIO;
}

static int open_memory(struct worker *w, int error)
{
    int r = catalogue_open_memory(store_catalogue_path(w->store), &w->catalogue);
    if (r < 0)
        return log_errno(r, "no catalogue can be made in memory");
    log_warning("the cache directory %s cannot be used (%s): its images are served as far as %s, and all others straight "
                "through, without being kept; it is looked at again every %d s", w->config->image_cache_dir, error_text(error),
                r > 0 ? "they can be read" : "their files tell what they are", TRY_MS / 1000);
    return 0;
}

static int open_catalogue(struct worker *w)
{
    const char *path = store_catalogue_path(w->store);
    bool old = mount_is_old(w->ledger);
    int r = old ? catalogue_reopen(path, &w->catalogue) : catalogue_open(path, &w->catalogue);
    if (r < 0 && r != -EBADMSG && r != -EPROTONOSUPPORT && goes_without(w, r))
        return open_memory(w, r);
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
    if (old)
        return -EBADMSG; /* a new one counts its rows from 1 again: the mount must be made afresh */
    r = catalogue_open(path, &w->catalogue);
    return r < 0 ? log_errno(r, "a new catalogue %s cannot be made", path) : 0;
}

int worker_open_parts(struct worker *w)
{
    int r = ledger_open(w->ledger_fd, &w->ledger);
    if (r == 0)
        r = arrivals_open(w->arrivals_fd, &w->arrivals);
    if (r < 0)
        return log_errno(r == -EBADMSG ? -EPROTO : r, "the memory shared with the keeper cannot be used");
    r = mount_is_old(w->ledger) ? store_is_held(w->config->image_cache_dir) : 0;
    if (r == 0)
        r = store_open(w->config->image_cache_dir, &w->store);
    if (r < 0 && goes_without(w, r) && store_open_lost(w->config->image_cache_dir, &w->store) == 0)
        return open_memory(w, r);
    if (r < 0)
        return log_errno(r, "%s: the cache directory %s cannot be used", config_where(w->config, "DEFAULT", "image_cache_dir"),
                         w->config->image_cache_dir);
    return open_catalogue(w);
}

int worker_make_world(struct worker *w)
{
    catalogue_watch(w->catalogue, w->trouble_fd);
    enum fuse_users users = w->flags & LINK_ALLOW_ROOT ? FUSE_FOR_ROOT : w->flags & LINK_ALLOW_OTHER ? FUSE_FOR_ALL : FUSE_FOR_OWNER;
    int r = fuse_world_new(w->ledger, users, w->line->debug, &w->world);
    if (r < 0)
        return log_errno(r, "the file system cannot be set up");
    unsigned views = config_views(w->config);
    if (views & VIEW_GLANCE && (r = scratch_open(w->config->image_cache_dir, &w->scratch)) < 0)
        log_errno(r, "%s: what Glance writes into glance/ cannot be kept in %s/.glance", config_where(w->config, "DEFAULT", "views"),
                  w->config->image_cache_dir);
    fuse_world_shows(w->world, views, w->config->image_cache_sqlite_db, w->scratch);
    fuse_world_belongs(w->world, w->view_group, w->config->view_mode == VIEW_FOR_ALL ? 0777 : w->config->view_mode == VIEW_FOR_GROUP ? 0770 : 0700);
    return 0;
}

int worker_start_engine(struct worker *w)
{
    struct engine_parts parts = {.config = w->config, .ops = w->ops, .backend = w->backend, .catalogue = w->catalogue,
                                 .store = w->store, .ledger = w->ledger, .arrivals = w->arrivals,
                                 .notify = fuse_world_notify(w->world)};
    w->backend = NULL;
    int r = engine_start(&parts, &w->engine);
    return r < 0 ? log_errno(r, "the engine cannot be started") : 0;
}

static const char *why_no_passthrough(const struct worker *w)
{
    if (w->config->passthrough == PASSTHROUGH_OFF)
        return "off: passthrough = off";
    if (!(w->flags & LINK_PASSTHROUGH))
        return "off: not started by root";
    return "off: the kernel does not offer it (Linux 6.9)";
}

static int trouble(void *context)
{
    return catalogue_trouble(context);
}

int worker_connect_kernel(struct worker *w)
{
    bool want = w->config->passthrough == PASSTHROUGH_AUTO && (w->flags & LINK_PASSTHROUGH);
    struct fuse_session *session = fuse_world_session(w->world);
    fuse_io_watch(trouble, w->catalogue);
    int r = fuse_io_attach(session, w->fuse_fd, w->ledger, want);
    if (r < 0)
        return log_errno(r, "the connection to the kernel cannot be used");
    r = fuse_loop_init(session);
    if (r < 0)
        return r;
    if (fuse_io_passthrough()) {
        w->passthrough = passthrough_new(w->backing_fd, w->ledger);
        if (w->passthrough == NULL)
            return log_errno(-ENOMEM, "passthrough cannot be set up");
        w->backing_fd = -1;
    }
    fuse_world_start(w->world, w->engine, w->catalogue, w->passthrough, why_no_passthrough(w));
    r = fuse_loop_start(session, THREADS, w->ended_fd, &w->loop);
    return r < 0 ? log_errno(r, "the threads that serve the mount cannot be started") : 0;
}
