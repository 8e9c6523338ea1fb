/* SPDX-License-Identifier: Apache-2.0 */
/* Folders, spoken to the kernel: a cookie is all there is to a position, so that a listing goes on under another worker. */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct listing_buffer {
    fuse_req_t request;
    char *bytes;
    size_t size, used;
    bool attributes;
};

/* An entry with a node is looked up by being listed. The two dots are not to be. */
static bool is_only_named(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool emit(void *context, const char *name, const struct view_entry *entry, uint64_t cookie)
{
    struct listing_buffer *b = context;
    size_t room = b->size - b->used, need;

    if (b->attributes) {
        struct fuse_entry_param e = to_entry_param(entry);
        if (is_only_named(name))
            e.ino = 0;
        need = fuse_add_direntry_plus(b->request, b->bytes + b->used, room, name, &e, (off_t)cookie);
    } else {
        need = fuse_add_direntry(b->request, b->bytes + b->used, room, name, &entry->attr, (off_t)cookie);
    }
    if (need > room)
        return false;
    b->used += need;
    return true;
}

static void list(fuse_req_t request, uint64_t folder, size_t size, uint64_t cookie, bool attributes)
{
    struct fuse_world *w = world_of(request);
    struct listing_buffer b = {.request = request, .size = size, .attributes = attributes,
                                .bytes = malloc(size)};
    int r = b.bytes == NULL ? -ENOMEM : view_list(&w->view, folder, cookie, attributes, emit, &b);
    if (r < 0 && b.used == 0)
        fuse_reply_err(request, -r);
    else
        fuse_reply_buf(request, b.bytes, b.used);
    free(b.bytes);
}

static void answer_list(struct parked *p, int status)
{
    if (status == -EINTR || status == -ECANCELED)
        fuse_reply_err(p->request, -status);
    else
        list(p->request, p->node, p->size, p->offset, p->attributes);
}

static void read_folder(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, bool attributes)
{
    if (offset == 0) {
        struct parked *p = park_new(request, answer_list);
        if (p == NULL)
            return;
        p->node = node;
        p->size = size;
        p->offset = 0;
        p->attributes = attributes;
        int r = view_list_ready(&world_of(request)->view, node, &p->waiter);
        if (r == ENGINE_PARKED)
            return;
        park_free(p);
        if (r < 0) {
            fuse_reply_err(request, -r);
            return;
        }
    }
    list(request, node, size, (uint64_t)offset, attributes);
}

void folders_opendir(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    if (node_is_folder(node))
        fuse_reply_open(request, file);
    else
        fuse_reply_err(request, ENOTDIR);
}

void folders_readdir(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    read_folder(request, node, size, offset, false);
}

void folders_readdirplus(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    read_folder(request, node, size, offset, true);
}
