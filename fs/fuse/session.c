/* SPDX-License-Identifier: Apache-2.0 */
/* The session: the table of libfuse's operations, INIT, the words the engine has for the kernel, and the world the handlers work in. */
#include "config-auto.h"

#include "fuse/io.h"
#include "fuse/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static void op_init(void *context, struct fuse_conn_info *connection)
{
    (void)context;
    /* An inode is one version of an image: a new mtime (it became complete) does not mean new bytes. */
    connection->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
    connection->want |= connection->capable & (FUSE_CAP_SPLICE_WRITE | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
                                               FUSE_CAP_READDIRPLUS_AUTO);
    connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_MOVE);
    /* For asynchronous reads the kernel waits without listening to signals that a program handles itself (dd's and Python's
     * Ctrl-C): a blocked one could not be interrupted. The engine reads ahead, so that nothing is lost by waiting for each. */
    connection->want &= ~(unsigned)(FUSE_CAP_ASYNC_READ | FUSE_CAP_ASYNC_DIO);
    connection->max_background = 64;
}

static const struct fuse_lowlevel_ops OPERATIONS = {
    .init = op_init,
    .lookup = names_lookup,
    .getattr = names_getattr,
    .setattr = names_setattr,
    .mknod = names_mknod,
    .mkdir = names_mkdir,
    .unlink = names_unlink,
    .rmdir = names_rmdir,
    .symlink = names_symlink,
    .rename = names_rename,
    .link = names_link,
    .open = files_open,
    .read = files_read,
    .write = files_write,
    .fsync = scratch_fsync,
    .fsyncdir = scratch_fsyncdir,
    .flush = files_flush,
    .release = files_release,
    .opendir = folders_opendir,
    .readdir = folders_readdir,
    .readdirplus = folders_readdirplus,
    .statfs = names_statfs,
    .setxattr = xattrs_set,
    .getxattr = xattrs_get,
    .listxattr = xattrs_list,
    .removexattr = xattrs_remove,
    .create = names_create,
};

/* ---- words to the kernel */

/* The engine has something to tell before the kernel was heard: a name that a former worker showed may be another image's by now. */
static bool await_connection(struct fuse_world *w)
{
    pthread_mutex_lock(&w->lock);
    while (w->connection == CONNECTION_AWAITED)
        pthread_cond_wait(&w->changed, &w->lock);
    bool stands = w->connection == CONNECTION_STANDS;
    pthread_mutex_unlock(&w->lock);
    return stands;
}

static void end_awaiting(struct fuse_world *w, bool connected)
{
    pthread_mutex_lock(&w->lock);
    if (w->connection == CONNECTION_AWAITED)
        w->connection = connected ? CONNECTION_STANDS : CONNECTION_NONE;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

/*
 * For this the kernel takes the folder as for a change, after all who look something up in it, and before all who come. In images/ they may
 * wait for the backend, and the others would wait for them, beyond any signal. So its names are left to end by themselves, a second after
 * they were looked up; who opens one that is another image by now gets -ESTALE, at which the kernel looks it up again.
 */
static void forget_name(void *context, const char *name)
{
    static const uint64_t folders[] = {NODE_CACHED, NODE_INCOMPLETE};
    struct fuse_world *w = context;
    if (!await_connection(w))
        return;
    fuse_io_part_descriptors();
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
        fuse_lowlevel_notify_inval_entry(w->session, folders[i], name, strlen(name)); /* -ENOENT: it was not kept */
}

static void forget_bytes(void *context, int64_t row, uint64_t offset, uint64_t length)
{
    struct fuse_world *w = context;
    if (!await_connection(w))
        return;
    fuse_io_part_descriptors();
    fuse_lowlevel_notify_inval_inode(w->session, node_make(KIND_IMAGE, row), (off_t)offset, (off_t)length);
}

static void stop_awaiting(void *context)
{
    end_awaiting(context, false);
}

/* ---- the world */

/* An open image takes a descriptor: of one user no more than half of what there are. */
static unsigned share_of_a_user(void)
{
    struct rlimit limit;
    bool few = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 2 < LEDGER_USER_MAX;
    return few ? (unsigned)(limit.rlim_cur / 2) : LEDGER_USER_MAX;
}

static const char *state_of_passthrough(const void *passthrough) { return passthrough_state(passthrough); }
static const char *why_there_is_none(const void *why) { return why; }

int fuse_world_new(struct ledger *ledger, enum fuse_users users, bool debug, struct fuse_world **ret)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct fuse_world *w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->handles.ledger = ledger;
    if (users == FUSE_FOR_ALL)
        ledger_limit_users(ledger, share_of_a_user());
    w->next_document = ledger_counter(ledger, COUNT_WORKER_STARTS) << 32;
    w->view.uid = geteuid();
    w->view.gid = getegid();
    w->view.mask = 0777;
    w->view.passthrough_state = why_there_is_none;
    w->view.passthrough = "off";
    w->notify = (struct kernel_notify){.forget_name = forget_name, .forget_bytes = forget_bytes, .stop = stop_awaiting, .context = w};
    int failed = fuse_opt_add_arg(&args, "glance-cache-fs");
    if (users != FUSE_FOR_OWNER)
        failed |= fuse_opt_add_arg(&args, users == FUSE_FOR_ROOT ? "-oallow_root,default_permissions" : "-oallow_other,default_permissions");
    if (debug)
        failed |= fuse_opt_add_arg(&args, "-d");
    if (!failed)
        w->session = fuse_session_new(&args, &OPERATIONS, sizeof(OPERATIONS), w);
    fuse_opt_free_args(&args);
    if (w->session == NULL) {
        free(w);
        return -ENOMEM;
    }
    *ret = w;
    return 0;
}

void fuse_world_belongs(struct fuse_world *w, gid_t group, mode_t mask)
{
    w->view.gid = group;
    w->view.mask = mask;
}

void fuse_world_shows(struct fuse_world *w, unsigned views, const char *glance_index, struct scratch *scratch)
{
    w->view.views = views;
    w->view.glance_index = glance_index;
    w->view.scratch = scratch;
}

struct fuse_session *fuse_world_session(struct fuse_world *w)
{
    return w->session;
}

const struct kernel_notify *fuse_world_notify(struct fuse_world *w)
{
    return &w->notify;
}

void fuse_world_start(struct fuse_world *w, struct engine *engine, struct catalogue *catalogue, struct passthrough *passthrough,
                      const char *why_not)
{
    w->view.engine = engine;
    w->view.catalogue = catalogue;
    w->view.passthrough_state = passthrough != NULL ? state_of_passthrough : why_there_is_none;
    w->view.passthrough = passthrough != NULL ? (const void *)passthrough : why_not;
    w->handles.engine = engine;
    w->handles.passthrough = passthrough;
    fuse_io_after_resent(handles_drop_orphans, &w->handles);
    end_awaiting(w, true);
}

void fuse_world_hand_over(struct fuse_world *w)
{
    atomic_store(&w->handing_over, true);
}

void fuse_world_free(struct fuse_world *w)
{
    if (w == NULL)
        return;
    documents_free(w);
    scratch_handles_free(w);
    bootsets_free(w);
    fuse_session_destroy(w->session);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
