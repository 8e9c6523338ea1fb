/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Boot sets that are being written: gathered by handle, and taken as a whole when the file is closed, so that who wrote hears what is wrong with
 * it. Lost with the worker: closing then is an error. w->lock protects the table; nothing is taken under it.
 */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/bootset.h"

enum { WRITTEN_MAX = 64 }; /* open at once */

/* Is a line that is whole already none? Who writes by a shell hears of it now: it does not look at what closing says. */
static bool is_wrong(const char *text, size_t length)
{
    struct bootset *set = malloc(sizeof(*set));
    unsigned line = 0, lines = 0;
    int r = set == NULL ? 0 : bootset_parse(text, length, set, &line);
    free(set);
    for (size_t i = 0; i < length; i++)
        lines += text[i] == '\n';
    return r == -EBADMSG && line <= lines;
}

int bootsets_open(struct fuse_world *w, struct fuse_file_info *file)
{
    struct written *new = calloc(1, sizeof(*new));
    if (new == NULL)
        return -ENOMEM;
    pthread_mutex_lock(&w->lock);
    bool room = HASH_COUNT(w->written) < WRITTEN_MAX;
    if (room) {
        new->handle = ++w->next_document;
        HASH_ADD(hh, w->written, handle, sizeof(new->handle), new);
        file->fh = new->handle;
    }
    pthread_mutex_unlock(&w->lock);
    if (!room) {
        free(new);
        return -EMFILE;
    }
    file->direct_io = 1;
    file->noflush = 0; /* close(2) says how it went */
    return 0;
}

void bootsets_write(fuse_req_t request, const char *bytes, size_t size, off_t offset, uint64_t handle)
{
    struct fuse_world *w = world_of(request);
    struct written *f;
    int r = 0;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->written, &handle, sizeof(handle), f);
    if (f == NULL)
        r = EIO;
    else if (offset < 0 || (size_t)offset > f->length)
        r = EINVAL;
    else if (size > sizeof(f->text) - (size_t)offset)
        r = EFBIG;
    if (r == 0) {
        memcpy(f->text + offset, bytes, size);
        f->length = (size_t)offset + size > f->length ? (size_t)offset + size : f->length;
        r = is_wrong(f->text, f->length) ? EINVAL : 0;
    }
    pthread_mutex_unlock(&w->lock);
    if (r != 0)
        fuse_reply_err(request, r);
    else
        fuse_reply_write(request, size);
}

void files_flush(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    struct written *f;
    size_t length = 0;
    char *text = NULL;
    int r = 0;
    if (node_kind(node) != KIND_BOOTSET || file->fh == 0) {
        fuse_reply_err(request, 0);
        return;
    }
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->written, &file->fh, sizeof(file->fh), f);
    if (f != NULL && f->length > 0) {
        length = f->length;
        text = malloc(length);
        r = text == NULL ? -ENOMEM : 0;
        if (text != NULL)
            memcpy(text, f->text, length);
    }
    pthread_mutex_unlock(&w->lock);
    if (text != NULL)
        r = view_write_bootset(&w->view, node, text, length);
    free(text);
    fuse_reply_err(request, f == NULL ? EIO : -r);
}

void bootsets_close(struct fuse_world *w, uint64_t handle)
{
    struct written *f;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->written, &handle, sizeof(handle), f);
    if (f != NULL)
        HASH_DEL(w->written, f);
    pthread_mutex_unlock(&w->lock);
    free(f);
}

void bootsets_free(struct fuse_world *w)
{
    struct written *f, *next;
    HASH_ITER(hh, w->written, f, next) {
        HASH_DEL(w->written, f);
        free(f);
    }
}
