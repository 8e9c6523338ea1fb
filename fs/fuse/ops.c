/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of libfuse's operations, the world they work in, and parked requests.
 *
 * A parked request belongs to the engine until it is woken. Ctrl-C in the reader's process reaches it through libfuse's interrupt call;
 * that call runs under a lock of the request, so it only marks the waiter and the engine wakes it from a thread of its own.
 */
#include "config-auto.h"

#include "fuse/io.h"
#include "fuse/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

struct fuse_world *world_of(fuse_req_t request)
{
    return fuse_req_userdata(request);
}

/* ---- parking */

static void on_interrupt(fuse_req_t request, void *context)
{
    struct parked *p = context;
    (void)request;
    engine_interrupt(p->world->view.engine, &p->waiter);
}

static void wake(struct waiter *w, int status)
{
    struct parked *p = (struct parked *)w;
    fuse_req_interrupt_func(p->request, NULL, NULL); /* waits for an on_interrupt() that is under way */
    if (status == -ECANCELED && atomic_load(&p->world->handing_over)) {
        fuse_reply_none(p->request); /* unanswered: the kernel sends it to the next worker */
        free(p);
        return;
    }
    p->answer(p, status == -ECANCELED ? -ENODEV : status);
    free(p);
}

struct parked *park_new(fuse_req_t request, void (*answer)(struct parked *p, int status))
{
    struct parked *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        fuse_reply_err(request, ENOMEM);
        return NULL;
    }
    p->waiter.wake = wake;
    p->waiter.user = fuse_req_ctx(request)->uid;
    p->request = request;
    p->world = world_of(request);
    p->answer = answer;
    fuse_req_interrupt_func(request, on_interrupt, p);
    return p;
}

void park_free(struct parked *p)
{
    fuse_req_interrupt_func(p->request, NULL, NULL);
    free(p);
}

/* ---- names */

struct fuse_entry_param to_entry_param(const struct view_entry *entry)
{
    return (struct fuse_entry_param){.ino = entry->node, .generation = 1, .attr = entry->attr,
                                     .attr_timeout = entry->attr_timeout, .entry_timeout = entry->entry_timeout};
}

void reply_entry(fuse_req_t request, const struct view_entry *entry)
{
    struct fuse_entry_param e = to_entry_param(entry);
    fuse_reply_entry(request, &e);
}

static void answer_lookup(struct parked *p, int status)
{
    struct view_entry entry;
    int r = view_lookup_result(&p->world->view, p->name, status, &entry);
    if (r < 0)
        fuse_reply_err(p->request, -r);
    else
        reply_entry(p->request, &entry);
}

static void op_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct view_entry entry;
    if (strlen(name) > IMAGE_ID_MAX) {
        fuse_reply_err(request, ENAMETOOLONG);
        return;
    }
    struct parked *p = park_new(request, answer_lookup);
    if (p == NULL)
        return;
    memcpy(p->name, name, strlen(name) + 1);
    int r = view_lookup(&world_of(request)->view, parent, name, &p->waiter, &entry);
    if (r == ENGINE_PARKED)
        return;
    park_free(p);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        reply_entry(request, &entry);
}

static void op_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct stat st;
    double timeout;
    (void)file;
    int r = view_getattr(&world_of(request)->view, node, &st, &timeout);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        fuse_reply_attr(request, &st, timeout);
}

/* Times and a size of 0 on entries of the queue are what touch and `>` do after making them; nothing else may be set. */
static void op_setattr(fuse_req_t request, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *file)
{
    int touch = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
    bool queued = node_kind(node) == KIND_QUEUED || node_kind(node) == KIND_NOT_QUEUED;
    bool truncate = (to_set & FUSE_SET_ATTR_SIZE) != 0 && attr->st_size == 0;
    /* Of an image, too: who keeps bases of disks (nova) touches those in use. Its times are its version's, and stay. */
    bool touched = node_kind(node) == KIND_IMAGE && (to_set & ~touch) == 0;
    if (!touched && (!queued || (to_set & ~(touch | (truncate ? FUSE_SET_ATTR_SIZE : 0))) != 0))
        fuse_reply_err(request, EPERM);
    else
        op_getattr(request, node, file);
}

static void op_statfs(fuse_req_t request, fuse_ino_t node)
{
    struct statvfs st;
    (void)node;
    int r = view_statvfs(&world_of(request)->view, &st);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        fuse_reply_statfs(request, &st);
}

/* ---- changes */

static void reply_create(fuse_req_t request, const struct view_entry *entry, struct fuse_file_info *file)
{
    struct fuse_entry_param e = to_entry_param(entry);
    file->direct_io = 1;
    fuse_reply_create(request, &e, file);
}

static void answer_create(struct parked *p, int status)
{
    struct view_entry entry;
    int r = view_create_result(&p->world->view, p->name, status, &entry);
    if (r < 0)
        fuse_reply_err(p->request, -r);
    else
        reply_create(p->request, &entry, &p->file);
}

static void op_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file)
{
    struct view_entry entry;
    (void)mode;
    if (strlen(name) > IMAGE_ID_MAX) {
        fuse_reply_err(request, ENAMETOOLONG);
        return;
    }
    struct parked *p = park_new(request, answer_create);
    if (p == NULL)
        return;
    memcpy(p->name, name, strlen(name) + 1);
    p->file = *file;
    int r = view_create(&world_of(request)->view, parent, name, &p->waiter, &entry);
    if (r == ENGINE_PARKED)
        return;
    park_free(p);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        reply_create(request, &entry, file);
}

static void answer_unlink(struct parked *p, int status)
{
    fuse_reply_err(p->request, -status);
}

static void op_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct parked *p = park_new(request, answer_unlink);
    if (p == NULL)
        return;
    int r = view_unlink(&world_of(request)->view, parent, name, &p->waiter);
    if (r == ENGINE_PARKED)
        return;
    park_free(p);
    fuse_reply_err(request, -r);
}

static void op_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
    int r = flags != 0 ? -EINVAL : view_rename(&world_of(request)->view, parent, name, new_parent, new_name);
    fuse_reply_err(request, -r);
}

static void op_write(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)node, (void)bytes, (void)size, (void)offset, (void)file;
    fuse_reply_err(request, EPERM);
}

static void op_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)parent, (void)name, (void)mode, (void)device;
    fuse_reply_err(request, EPERM);
}

static void op_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)parent, (void)name, (void)mode;
    fuse_reply_err(request, EPERM);
}

static void op_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}

static void op_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target, (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}

static void op_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
    (void)node, (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}

/* ---- extended attributes */

static void reply_text(fuse_req_t request, const char *text, int length, size_t size)
{
    if (length < 0)
        fuse_reply_err(request, -length);
    else if (size == 0)
        fuse_reply_xattr(request, (size_t)length);
    else
        fuse_reply_buf(request, text, (size_t)length);
}

static void op_getxattr(fuse_req_t request, fuse_ino_t node, const char *name, size_t size)
{
    char value[4096];
    size_t room = size < sizeof(value) ? size : sizeof(value);
    reply_text(request, value, view_getxattr(&world_of(request)->view, node, name, value, room), size);
}

static void op_listxattr(fuse_req_t request, fuse_ino_t node, size_t size)
{
    char names[4096];
    size_t room = size < sizeof(names) ? size : sizeof(names);
    reply_text(request, names, view_listxattr(&world_of(request)->view, node, names, room), size);
}

static void op_setxattr(fuse_req_t request, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
    (void)flags;
    fuse_reply_err(request, -view_setxattr(&world_of(request)->view, node, name, value, size));
}

static void op_removexattr(fuse_req_t request, fuse_ino_t node, const char *name)
{
    fuse_reply_err(request, -view_setxattr(&world_of(request)->view, node, name, "", 0));
}

/* ---- the session */

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
    .lookup = op_lookup,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_rmdir,
    .symlink = op_symlink,
    .rename = op_rename,
    .link = op_link,
    .open = files_open,
    .read = files_read,
    .write = op_write,
    .release = files_release,
    .opendir = folders_opendir,
    .readdir = folders_readdir,
    .readdirplus = folders_readdirplus,
    .statfs = op_statfs,
    .setxattr = op_setxattr,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
    .removexattr = op_removexattr,
    .create = op_create,
};

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
    w->ledger = ledger;
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
    w->passthrough = passthrough;
    fuse_io_after_resent(files_drop_orphans, w);
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
    files_free_documents(w);
    fuse_session_destroy(w->session);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}
