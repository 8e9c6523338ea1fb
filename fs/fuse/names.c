/* SPDX-License-Identifier: Apache-2.0 */
/* Names and attributes, spoken to the kernel; what touch, rm and mv do, and all that may not be done to a view. */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <string.h>

struct fuse_entry_param to_entry_param(const struct view_entry *entry)
{
    return (struct fuse_entry_param){.ino = entry->node, .generation = 1, .attr = entry->attr,
                                     .attr_timeout = entry->attr_timeout, .entry_timeout = entry->entry_timeout};
}

static void reply_entry(fuse_req_t request, const struct view_entry *entry)
{
    struct fuse_entry_param e = to_entry_param(entry);
    fuse_reply_entry(request, &e);
}

/* As park_new(); NULL also when NAME is too long. */
static struct parked *park_name(fuse_req_t request, const char *name, void (*answer)(struct parked *p, int status))
{
    if (strlen(name) > IMAGE_ID_MAX) {
        fuse_reply_err(request, ENAMETOOLONG);
        return NULL;
    }
    struct parked *p = park_new(request, answer);
    if (p != NULL)
        memcpy(p->name, name, strlen(name) + 1);
    return p;
}

static void answer_lookup(struct parked *p, int status)
{
    struct view_entry entry;
    int r = view_lookup_result(&p->world->view, p->node, p->name, status, &entry);
    if (r < 0)
        fuse_reply_err(p->request, -r);
    else
        reply_entry(p->request, &entry);
}

static void look_up(fuse_req_t request, uint64_t parent, const char *name)
{
    struct view_entry entry;
    struct parked *p = park_name(request, name, answer_lookup);
    if (p == NULL)
        return;
    p->node = parent;
    int r = view_lookup(&world_of(request)->view, parent, name, &p->waiter, &entry);
    if (r == ENGINE_PARKED)
        return;
    park_free(p);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        reply_entry(request, &entry);
}

static void answer_ready(struct parked *p, int status)
{
    if (status == -EINTR || status == -ECANCELED)
        fuse_reply_err(p->request, -status);
    else
        look_up(p->request, p->node, p->name);
}

void names_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    if (!view_lookup_prepares(parent)) {
        look_up(request, parent, name);
        return;
    }
    struct parked *p = park_name(request, name, answer_ready);
    if (p == NULL)
        return;
    p->node = parent;
    int r = view_lookup_ready(&world_of(request)->view, parent, name, &p->waiter);
    if (r == ENGINE_PARKED)
        return;
    park_free(p);
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        look_up(request, parent, name);
}

int gone_when_open(int r)
{
    return r == -ESTALE ? EIO : -r;
}

/* FILE: also before a read, where the kernel wants to know the end of what is open. */
void names_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct stat st;
    double timeout;
    int r = view_getattr(&world_of(request)->view, node, &st, &timeout);
    if (r < 0)
        fuse_reply_err(request, file != NULL ? gone_when_open(r) : -r);
    else
        fuse_reply_attr(request, &st, timeout);
}

/* Times and a size of 0 on entries of the queue and boot sets are what touch and `>` do after making them; nothing else may be set. */
void names_setattr(fuse_req_t request, fuse_ino_t node, struct stat *attr, int to_set, struct fuse_file_info *file)
{
    int touch = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW | FUSE_SET_ATTR_CTIME;
    bool queued = node_kind(node) == KIND_QUEUED || node_kind(node) == KIND_NOT_QUEUED || node_kind(node) == KIND_BOOTSET;
    bool truncate = (to_set & FUSE_SET_ATTR_SIZE) != 0 && attr->st_size == 0;
    /* Of an image, too: who keeps bases of disks (nova) touches those in use. Its times are its version's, and stay. */
    bool touched = node_kind(node) == KIND_IMAGE && (to_set & ~touch) == 0;
    int r = node_kind(node) == KIND_SCRATCH ? scratch_setattr(world_of(request), node, attr, to_set) : 0;
    if (r < 0)
        fuse_reply_err(request, -r);
    else if (node_kind(node) == KIND_SCRATCH)
        names_getattr(request, node, file);
    else if (!touched && (!queued || (to_set & ~(touch | (truncate ? FUSE_SET_ATTR_SIZE : 0))) != 0))
        fuse_reply_err(request, EPERM);
    else
        names_getattr(request, node, file);
}

void names_statfs(fuse_req_t request, fuse_ino_t node)
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
    bool scratch = node_kind(entry->node) == KIND_SCRATCH, bootset = node_kind(entry->node) == KIND_BOOTSET;
    int r = bootset ? bootsets_open(world_of(request), file) : scratch ? scratch_handle_open(world_of(request), entry->node, fuse_req_ctx(request)->uid, file) : 0;
    if (r < 0) {
        fuse_reply_err(request, -r);
        return;
    }
    file->direct_io = !scratch;
    if (fuse_reply_create(request, &e, file) != -ENOENT) /* else interrupted: the kernel does not know of the handle */
        return;
    if (scratch)
        scratch_handle_close(world_of(request), file->fh);
    else if (bootset)
        bootsets_close(world_of(request), file->fh);
    else if (node_kind(entry->node) == KIND_HANDED)
        engine_hand_end(world_of(request)->view.engine, (uint64_t)node_row(entry->node));
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

void names_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *file)
{
    struct view_entry entry;
    (void)mode;
    struct parked *p = park_name(request, name, answer_create);
    if (p == NULL)
        return;
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

void names_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
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

void names_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
    int r = flags != 0 ? -EINVAL : view_rename(&world_of(request)->view, parent, name, new_parent, new_name);
    fuse_reply_err(request, -r);
}

void names_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)parent, (void)name, (void)mode, (void)device;
    fuse_reply_err(request, EPERM);
}

void names_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)parent, (void)name, (void)mode;
    fuse_reply_err(request, EPERM);
}

void names_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}

void names_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target, (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}

void names_link(fuse_req_t request, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
    (void)node, (void)parent, (void)name;
    fuse_reply_err(request, EPERM);
}
