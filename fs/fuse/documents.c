/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open documents (.status, queued/, invalid/): rendered when they are opened, and read past the page cache. w->lock protects the tables;
 * nothing is rendered or answered under it.
 */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DOCUMENTS_MAX = 1024 }; /* open at once, of a user; root has no bound */

int documents_open(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file)
{
    pthread_mutex_lock(&w->lock);
    int r = shares_take(&w->document_users, user, user == 0 ? 0 : DOCUMENTS_MAX);
    pthread_mutex_unlock(&w->lock);
    if (r < 0)
        return r;
    struct document *d = calloc(1, sizeof(*d));
    r = d == NULL ? -ENOMEM : view_document(&w->view, node, &d->text, &d->length);
    pthread_mutex_lock(&w->lock);
    if (r < 0) {
        shares_give_back(&w->document_users, user);
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

void documents_read(fuse_req_t request, uint64_t node, size_t size, off_t offset, uint64_t handle)
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

void documents_close(struct fuse_world *w, uint64_t handle)
{
    struct document *d;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->documents, &handle, sizeof(handle), d);
    if (d != NULL) {
        HASH_DEL(w->documents, d);
        shares_give_back(&w->document_users, d->user);
    }
    pthread_mutex_unlock(&w->lock);
    if (d != NULL)
        free(d->text);
    free(d);
}

void documents_free(struct fuse_world *w)
{
    struct document *d, *next;
    HASH_ITER(hh, w->documents, d, next) {
        HASH_DEL(w->documents, d);
        shares_give_back(&w->document_users, d->user);
        free(d->text);
        free(d);
    }
}
