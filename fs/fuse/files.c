/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files, spoken to the kernel. An image is open in passthrough mode (the kernel reads the cached file itself) or in caching mode (the
 * page cache of our inode, filled by reads that come here); which one is the ledger's decision, one for all handles of an inode.
 * Documents (.status, queued/, invalid/) are rendered when they are opened and read past the page cache.
 */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fuse/io.h"
#include "process/abi.h"

/* ---- documents */

enum { DOCUMENTS_MAX = 1024 }; /* open at once, of a user */

static void leave_user_locked(struct fuse_world *w, uid_t user)
{
    struct document_user *u;
    HASH_FIND(hh, w->document_users, &user, sizeof(user), u);
    if (u != NULL && --u->open == 0) {
        HASH_DEL(w->document_users, u);
        free(u);
    }
}

/* One more of USER; root has no bound. */
static int enter_user(struct fuse_world *w, uid_t user)
{
    struct document_user *u, *new = calloc(1, sizeof(*new));
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->document_users, &user, sizeof(user), u);
    if (u == NULL && new != NULL) {
        u = new;
        new = NULL;
        u->user = user;
        HASH_ADD(hh, w->document_users, user, sizeof(u->user), u);
    }
    int r = u == NULL ? -ENOMEM : user != 0 && u->open >= DOCUMENTS_MAX ? -EMFILE : 0;
    if (r == 0)
        u->open++;
    pthread_mutex_unlock(&w->lock);
    free(new);
    return r;
}

int files_open_document(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file)
{
    int r = enter_user(w, user);
    if (r < 0)
        return r;
    struct document *d = calloc(1, sizeof(*d));
    r = d == NULL ? -ENOMEM : view_document(&w->view, node, &d->text, &d->length);
    pthread_mutex_lock(&w->lock);
    if (r < 0) {
        leave_user_locked(w, user);
        pthread_mutex_unlock(&w->lock);
        free(d);
        return r;
    }
    d->user = user;
    d->handle = ++w->next_document;
    HASH_ADD(hh, w->documents, handle, sizeof(d->handle), d);
    pthread_mutex_unlock(&w->lock);
    file->fh = d->handle;
    file->direct_io = 1;
    return 0;
}

static void read_document(fuse_req_t request, uint64_t node, size_t size, off_t offset, uint64_t handle)
{
    struct fuse_world *w = world_of(request);
    struct document *d;
    char *part = NULL;
    size_t length = 0, at = (size_t)offset, n = 0;

    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->documents, &handle, sizeof(handle), d);
    if (d != NULL && at < d->length) {
        n = d->length - at < size ? d->length - at : size;
        part = malloc(n);
        if (part != NULL)
            memcpy(part, d->text + at, n);
    }
    pthread_mutex_unlock(&w->lock);
    if (d != NULL) {
        fuse_reply_buf(request, part, part == NULL ? 0 : n);
        free(part);
        return;
    }
    /* Opened under a former worker: what it says now; but not the rest of what was read the beginning of. */
    if (at > 0) {
        fuse_reply_buf(request, NULL, 0);
        return;
    }
    int r = view_document(&w->view, node, &part, &length);
    if (r < 0) {
        fuse_reply_err(request, -r);
        return;
    }
    fuse_reply_buf(request, part, length < size ? length : size);
    free(part);
}

static void close_document(struct fuse_world *w, uint64_t handle)
{
    struct document *d;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->documents, &handle, sizeof(handle), d);
    if (d != NULL) {
        HASH_DEL(w->documents, d);
        leave_user_locked(w, d->user);
    }
    pthread_mutex_unlock(&w->lock);
    if (d != NULL)
        free(d->text);
    free(d);
}

void files_free_documents(struct fuse_world *w)
{
    struct document *d, *next;
    HASH_ITER(hh, w->documents, d, next) {
        HASH_DEL(w->documents, d);
        leave_user_locked(w, d->user);
        free(d->text);
        free(d);
    }
}

/* ---- open */

/* No handle of ROW is left. */
static void close_image(void *context, int64_t row)
{
    struct fuse_world *w = context;
    passthrough_close(w->passthrough, row);
    engine_close(w->view.engine, row);
}

static void drop_handle(struct fuse_world *w, int64_t row, uint64_t handle)
{
    if (ledger_close_handle(w->ledger, handle, row) == 0)
        close_image(w, row);
}

void files_drop_orphans(void *context)
{
    struct fuse_world *w = context;
    unsigned n = ledger_drop_orphans(w->ledger, close_image, w);
    if (n > 0)
        log_info("%u images were being opened when the worker before died, by programs that are gone: they are closed", n);
}

struct opening {
    int64_t row;
    uint64_t unique; /* the kernel's number of the request */
    bool resent;
    uint64_t handle;
    bool passthrough;
    bool hit;
    bool fresh;     /* nothing of it is here */
    bool uncounted; /* opened with O_NOATIME: no use of the image, as when it is verified */
    int backing_id;
};

/* A handle in the ledger, and with passthrough the id of the file. The mode is decided once for all handles of the inode. */
static int enter_handle(struct fuse_world *w, struct image *image, struct opening *o)
{
    bool want = o->hit && passthrough_wanted(w->passthrough);
    int r = ledger_open_handle(w->ledger, o->row, o->unique, o->resent, want, &o->handle, &o->passthrough);
    if (r < 0 || !o->passthrough)
        return r;
    struct image_file *file = engine_read_ready(image);
    if (file == NULL)
        r = -ESTALE;
    else
        r = w->passthrough == NULL ? -EIO : passthrough_open(w->passthrough, o->row, o->handle, image_file_fd(file));
    image_file_put(file);
    if (r >= 0) {
        o->backing_id = r;
        o->passthrough = r > 0;
        return 0;
    }
    /* Without an id: caching mode, if nobody has it open in the other one. */
    if (ledger_close_handle(w->ledger, o->handle, o->row) > 0)
        return r;
    r = ledger_open_handle(w->ledger, o->row, o->unique, false, false, &o->handle, &o->passthrough);
    if (r == 0 && o->passthrough) {
        drop_handle(w, o->row, o->handle);
        r = -EIO;
    }
    return r;
}

static int open_image(struct fuse_world *w, struct opening *o)
{
    struct image *image, *before;
    int r = engine_get(w->view.engine, o->row, &before);
    if (r < 0)
        return r;
    o->hit = image_is_complete(before);
    r = enter_handle(w, before, o);
    if (r < 0) {
        engine_put(before);
        return r;
    }
    /* Entered first, looked at again now: an eviction either sees the handle or is seen here. It stays in memory in between: one that is
     * loaded while there are handles of it has been read by a worker before us. */
    r = engine_open(w->view.engine, o->row, &image);
    engine_put(before);
    if (r < 0) {
        drop_handle(w, o->row, o->handle);
        return r;
    }
    o->fresh = image_is_known(image);
    if (!o->uncounted)
        engine_count_open(w->view.engine, o->row, o->hit);
    engine_put(image);
    return 0;
}

static void reply_open(fuse_req_t request, struct opening *o, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    o->uncounted = (file->flags & O_NOATIME) != 0;
    int r = open_image(w, o);
    if (r < 0) {
        fuse_reply_err(request, -r);
        return;
    }
    ledger_answering(w->ledger, o->handle, o->row);
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
        drop_handle(w, o->row, o->handle);
}

static void answer_open(struct parked *p, int status)
{
    struct opening o = {.row = node_row(p->node), .unique = p->unique, .resent = p->resent};
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
    struct opening o = {.row = node_row(node)};

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
        r = files_open_document(world_of(request), node, user, file);
        break;
    case KIND_FIXED:
    case KIND_INVALID:
        r = writing ? -EPERM : files_open_document(world_of(request), node, user, file);
        break;
    }
    if (r < 0)
        fuse_reply_err(request, -r);
    else if (fuse_reply_open(request, file) == -ENOENT)
        close_document(world_of(request), file->fh);
}

void files_release(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    if (node_kind(node) == KIND_IMAGE) {
        if ((file->flags & O_NOATIME) == 0) /* what the kernel read by itself is not seen here: it was in use until now */
            engine_touch(w->view.engine, node_row(node));
        drop_handle(w, node_row(node), file->fh);
    } else if (file->fh != 0) {
        close_document(w, file->fh);
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
        ledger_count(p->world->ledger, COUNT_BYTES_READ, p->waiter.length);
        reply_bytes(p->request, file, p->waiter.offset, p->waiter.length);
    }
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
        fuse_reply_err(request, -r);
        return;
    }
    struct image *image = p->image;
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
        ledger_count(w->ledger, COUNT_BYTES_READ, length);
        reply_bytes(request, file, (uint64_t)offset, length);
        image_file_put(file);
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
    default:
        read_document(request, node, size, offset, file->fh);
    }
}
