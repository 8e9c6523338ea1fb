/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, spoken to the kernel. */
#include "config-auto.h"

#include "fuse/private.h"

static void reply_text(fuse_req_t request, const char *text, int length, size_t size)
{
    if (length < 0)
        fuse_reply_err(request, -length);
    else if (size == 0)
        fuse_reply_xattr(request, (size_t)length);
    else
        fuse_reply_buf(request, text, (size_t)length);
}

void xattrs_get(fuse_req_t request, fuse_ino_t node, const char *name, size_t size)
{
    char value[4096];
    size_t room = size < sizeof(value) ? size : sizeof(value);
    struct fuse_world *w = world_of(request);
    int length = node_kind(node) == KIND_SCRATCH ? scratch_getxattr(w, node, name, value, room) : view_getxattr(&w->view, node, name, value, room);
    reply_text(request, value, length, size);
}

void xattrs_list(fuse_req_t request, fuse_ino_t node, size_t size)
{
    char names[4096];
    size_t room = size < sizeof(names) ? size : sizeof(names);
    reply_text(request, names, view_listxattr(&world_of(request)->view, node, names, room), size);
}

void xattrs_set(fuse_req_t request, fuse_ino_t node, const char *name, const char *value, size_t size, int flags)
{
    struct fuse_world *w = world_of(request);
    (void)flags;
    int r = node_kind(node) == KIND_SCRATCH ? scratch_setxattr(w, node, name, value, size) : view_setxattr(&w->view, node, name, value, size);
    fuse_reply_err(request, -r);
}

void xattrs_remove(fuse_req_t request, fuse_ino_t node, const char *name)
{
    fuse_reply_err(request, -view_setxattr(&world_of(request)->view, node, name, "", 0));
}
