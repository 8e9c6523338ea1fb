/* SPDX-License-Identifier: Apache-2.0 */
/* Open files, spoken to the kernel: images, by handles.c, and documents, by documents.c. */
#include "config-auto.h"

#include "fuse/io.h"
#include "fuse/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "process/abi.h"

/* ---- open */

static void reply_open(fuse_req_t request, struct opening *o, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    o->uncounted = (file->flags & O_NOATIME) != 0;
    int r = handles_open(&w->handles, o);
    if (r < 0) {
        fuse_reply_err(request, -r);
        return;
    }
    ledger_answering(w->handles.ledger, o->handle, o->row);
    if (o->passthrough) {
        struct gcfs_open_out out = {.fh = o->handle, .open_flags = GCFS_FOPEN_PASSTHROUGH | FOPEN_NOFLUSH,
                                   .backing_id = o->backing_id};
        r = fuse_reply_buf(request, (const char *)&out, sizeof(out));
    } else {
        file->fh = o->handle;
        /* An inode is one version of an image: its bytes never change. But where nothing of it is here, nothing may be left to say which
         * version it was that was read of it before. */
        file->keep_cache = !o->fresh;
        r = fuse_reply_open(request, file);
    }
    if (r == -ENOENT) /* interrupted: the kernel does not know of the handle */
        handles_close(&w->handles, o->row, o->handle);
}

static void answer_open(struct parked *p, int status)
{
    struct opening o = {.row = node_row(p->node), .user = fuse_req_ctx(p->request)->uid, .unique = p->unique, .resent = p->resent};
    int r = engine_revalidate_result(p->world->view.engine, o.row, status);
    if (r < 0)
        fuse_reply_err(p->request, -r);
    else
        reply_open(p->request, &o, &p->file);
}

/* The backend is asked first whether the cached image is still the same. True: the answer comes later, or came. */
static bool revalidate(fuse_req_t request, const struct opening *o, const struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    struct parked *p = engine_revalidates(w->view.engine) ? park_new(request, answer_open) : NULL;
    if (p == NULL)
        return engine_revalidates(w->view.engine);
    p->node = node_make(KIND_IMAGE, o->row);
    p->file = *file;
    p->unique = o->unique;
    p->resent = o->resent;
    int r = engine_revalidate(w->view.engine, o->row, &p->waiter);
    if (r == ENGINE_PARKED)
        return true;
    park_free(p);
    if (r < 0)
        fuse_reply_err(request, -r);
    return r < 0;
}

static void files_open_image(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct opening o = {.row = node_row(node), .user = fuse_req_ctx(request)->uid};

    if ((file->flags & O_ACCMODE) != O_RDONLY) {
        fuse_reply_err(request, EPERM);
        return;
    }
    o.unique = fuse_io_unique(&o.resent);
    if (!revalidate(request, &o, file))
        reply_open(request, &o, file);
}

void files_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    bool writing = (file->flags & O_ACCMODE) != O_RDONLY;
    uid_t user = fuse_req_ctx(request)->uid;
    int r = 0;

    file->noflush = 1; /* close(2) need not ask us whether all is well: nothing is written */
    switch (node_kind(node)) {
    case KIND_IMAGE:
        files_open_image(request, node, file);
        return;
    case KIND_NOT_QUEUED:
        file->direct_io = 1;
        break;
    case KIND_QUEUED:
        if (writing) { /* touch of an entry that is there */
            file->direct_io = 1;
            break;
        }
        r = documents_open(world_of(request), node, user, file);
        break;
    case KIND_BOOTSET:
        r = writing ? bootsets_open(world_of(request), file) : documents_open(world_of(request), node, user, file);
        break;
    case KIND_SCRATCH:
        r = scratch_handle_open(world_of(request), node, user, file);
        if (r == 0 && fuse_reply_open(request, file) == -ENOENT)
            scratch_handle_close(world_of(request), file->fh);
        if (r == 0)
            return;
        break;
    case KIND_HANDED: /* it is written by who made it, and read by nobody */
        r = -EPERM;
        break;
    case KIND_FIXED:
    case KIND_INVALID:
        r = writing ? -EPERM : documents_open(world_of(request), node, user, file);
        break;
    }
    if (r < 0)
        fuse_reply_err(request, -r);
    else if (fuse_reply_open(request, file) == -ENOENT) {
        documents_close(world_of(request), file->fh);
        bootsets_close(world_of(request), file->fh);
    }
}

void files_release(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    if (node_kind(node) == KIND_IMAGE) {
        if ((file->flags & O_NOATIME) == 0) /* what the kernel read by itself is not seen here: it was in use until now */
            engine_touch(w->view.engine, node_row(node));
        handles_close(&w->handles, node_row(node), file->fh);
    } else if (node_kind(node) == KIND_SCRATCH) {
        scratch_handle_close(w, file->fh);
    } else if (node_kind(node) == KIND_HANDED) {
        engine_hand_end(w->view.engine, (uint64_t)node_row(node));
    } else if (file->fh != 0) {
        documents_close(w, file->fh);
        bootsets_close(w, file->fh);
    }
    fuse_reply_err(request, 0);
}

/* ---- read */

/*
 * LENGTH bytes of FILE from OFFSET, spliced where they lie. A file that somebody cut short is an error: of a short answer the kernel
 * would take the end for that of the image, and keep it with the inode.
 */
static void reply_bytes(fuse_req_t request, const struct image_file *file, uint64_t offset, size_t length)
{
    struct fuse_bufvec bytes = FUSE_BUFVEC_INIT(length);
    struct stat st;
    if (fstat(image_file_fd(file), &st) < 0 || (uint64_t) st.st_size < offset + length) {
        fuse_reply_err(request, EIO);
        return;
    }
    bytes.buf[0].flags = FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK;
    bytes.buf[0].fd = image_file_fd(file);
    bytes.buf[0].pos = (off_t)offset;
    fuse_reply_data(request, &bytes, 0);
}

static void answer_read(struct parked *p, int status)
{
    struct image_file *file = status == 0 ? engine_read_ready(p->image) : NULL;
    if (status == 0 && file == NULL)
        status = -EIO;
    if (status < 0) {
        fuse_reply_err(p->request, -status);
    } else {
        ledger_count(p->world->handles.ledger, COUNT_BYTES_READ, p->waiter.length);
        reply_bytes(p->request, file, p->waiter.offset, p->waiter.length);
    }
    if (status != -EINTR && status != -ENODEV)
        ledger_measure(p->world->handles.ledger, DURATION_READ_COLD, clock_monotonic() - p->began);
    image_file_put(file);
    engine_put(p->image);
}

static void read_image(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, const struct fuse_file_info *opened)
{
    struct fuse_world *w = world_of(request);
    struct image_file *file;
    uint64_t length;
    struct parked *p = park_new(request, answer_read);
    if (p == NULL)
        return;
    int r = engine_get(w->view.engine, node_row(node), &p->image);
    if (r < 0) {
        park_free(p);
        fuse_reply_err(request, gone_when_open(r));
        return;
    }
    struct image *image = p->image;
    int64_t began = p->began = clock_monotonic();
    if ((opened->flags & O_NOATIME) == 0)
        engine_touch(w->view.engine, node_row(node));
    r = engine_read(image, (uint64_t)offset, size, &p->waiter, &file, &length);
    if (r == ENGINE_PARKED)
        return; /* P and the reference are answer_read()'s */
    park_free(p);
    if (r < 0) {
        fuse_reply_err(request, -r);
    } else if (length == 0) {
        fuse_reply_buf(request, NULL, 0);
    } else {
        ledger_count(w->handles.ledger, COUNT_BYTES_READ, length);
        reply_bytes(request, file, (uint64_t)offset, length);
        image_file_put(file);
        ledger_measure(w->handles.ledger, r == ENGINE_CACHED ? DURATION_READ_WARM : DURATION_READ_PREFETCHED, clock_monotonic() - began);
    }
    engine_put(image);
}

void files_read(fuse_req_t request, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *file)
{
    switch (node_kind(node)) {
    case KIND_IMAGE:
        read_image(request, node, size, offset, file);
        break;
    case KIND_NOT_QUEUED:
        fuse_reply_buf(request, NULL, 0);
        break;
    case KIND_HANDED:
        fuse_reply_err(request, EPERM);
        break;
    case KIND_SCRATCH:
        scratch_read(request, node, size, offset, file->fh);
        break;
    default:
        documents_read(request, node, size, offset, file->fh);
    }
}

void files_write(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    if (node_kind(node) == KIND_BOOTSET)
        bootsets_write(request, bytes, size, offset, file->fh);
    else
        scratch_write_file(request, node, bytes, size, offset, file);
}
