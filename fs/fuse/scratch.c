/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scratch files, spoken to the kernel: files that are written, through its page cache, and lie on the disk as they are. A handle is a number of
 * this worker's with a descriptor; one of a worker before gets its descriptor anew, by the file's number. w->lock protects the table.
 */
#include "config-auto.h"

#include "fuse/private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

enum { HANDLES_MAX = 1024, HANDLES_OF_A_USER = 256, READ_MAX = 1 << 20 };

/* The descriptor of HANDLE, for fds_put(). */
static int fds_get(struct fuse_world *w, uint64_t node, uint64_t handle, int *ret_fd)
{
    struct scratch_handle *h;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->scratch_handles, &handle, sizeof(handle), h);
    int fd = h == NULL ? -1 : fcntl(h->fd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&w->lock);
    if (h != NULL && fd < 0)
        return -errno;
    if (h == NULL) {
        int r = w->view.scratch == NULL ? -EIO : scratch_open_file(w->view.scratch, (uint64_t)node_row(node), &fd);
        if (r < 0)
            return r == -ENOENT ? -ESTALE : r;
    }
    *ret_fd = fd;
    return 0;
}

/* Keeps FD for its user: the number of the handle; 0: he has as many as he may, and what asks for the file will open it anew. */
static uint64_t keep(struct fuse_world *w, int fd, uid_t user)
{
    struct scratch_handle *h = calloc(1, sizeof(*h));
    uint64_t handle = 0;
    if (h == NULL)
        return 0;
    *h = (struct scratch_handle){.user = user, .fd = fd};
    pthread_mutex_lock(&w->lock);
    if (HASH_COUNT(w->scratch_handles) < HANDLES_MAX && shares_take(&w->scratch_users, user, user == w->view.uid ? 0 : HANDLES_OF_A_USER) == 0) {
        handle = h->handle = ++w->next_document;
        HASH_ADD(hh, w->scratch_handles, handle, sizeof(h->handle), h);
    }
    pthread_mutex_unlock(&w->lock);
    if (handle == 0)
        free(h);
    return handle;
}

int scratch_handle_open(struct fuse_world *w, uint64_t node, uid_t user, struct fuse_file_info *file)
{
    int fd, r = w->view.scratch == NULL ? -EIO : scratch_open_file(w->view.scratch, (uint64_t)node_row(node), &fd);
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    if (file->flags & O_TRUNC && (r = scratch_truncate(w->view.scratch, fd, 0)) < 0) {
        close(fd);
        return r;
    }
    file->fh = keep(w, fd, user);
    if (file->fh == 0)
        close(fd);
    file->keep_cache = 1; /* whatever changes it goes through the kernel */
    file->noflush = 0;    /* what was written by way of a mapping goes to the file when it is closed */
    return 0;
}

void scratch_handle_close(struct fuse_world *w, uint64_t handle)
{
    struct scratch_handle *h;
    pthread_mutex_lock(&w->lock);
    HASH_FIND(hh, w->scratch_handles, &handle, sizeof(handle), h);
    if (h != NULL) {
        HASH_DEL(w->scratch_handles, h);
        shares_give_back(&w->scratch_users, h->user);
    }
    pthread_mutex_unlock(&w->lock);
    if (h != NULL)
        close(h->fd);
    free(h);
}

void scratch_handles_free(struct fuse_world *w)
{
    struct scratch_handle *h, *next;
    HASH_ITER(hh, w->scratch_handles, h, next) {
        HASH_DEL(w->scratch_handles, h);
        close(h->fd);
        free(h);
    }
    shares_free(&w->scratch_users);
}

/* ---- bytes */

void scratch_read(fuse_req_t request, uint64_t node, size_t size, off_t offset, uint64_t handle)
{
    int fd, r = fds_get(world_of(request), node, handle, &fd);
    char *bytes = r < 0 ? NULL : malloc(size < READ_MAX ? size : READ_MAX);
    ssize_t n = bytes == NULL ? -1 : pread(fd, bytes, size < READ_MAX ? size : READ_MAX, offset);
    if (r < 0 || n < 0)
        fuse_reply_err(request, r < 0 ? -r : bytes == NULL ? ENOMEM : errno);
    else
        fuse_reply_buf(request, bytes, (size_t)n);
    free(bytes);
    if (r == 0)
        close(fd);
}

void scratch_write_file(fuse_req_t request, fuse_ino_t node, const char *bytes, size_t size, off_t offset, struct fuse_file_info *file)
{
    struct fuse_world *w = world_of(request);
    if (node_kind(node) == KIND_HANDED) {
        int error = engine_hand_write(w->view.engine, (uint64_t)node_row(node), bytes, size, (uint64_t)offset);
        if (error < 0)
            fuse_reply_err(request, -error);
        else
            fuse_reply_write(request, size);
        return;
    }
    int fd, r = node_kind(node) != KIND_SCRATCH ? -EPERM : fds_get(w, node, file->fh, &fd);
    if (r == 0) {
        r = scratch_write(w->view.scratch, fd, bytes, size, offset);
        close(fd);
    }
    if (r < 0)
        fuse_reply_err(request, -r);
    else
        fuse_reply_write(request, size);
}

/* Of other nodes nothing was written. */
void scratch_fsync(fuse_req_t request, fuse_ino_t node, int only_data, struct fuse_file_info *file)
{
    int fd, r = node_kind(node) != KIND_SCRATCH ? 0 : fds_get(world_of(request), node, file->fh, &fd);
    if (r == 0 && node_kind(node) == KIND_SCRATCH) {
        r = (only_data ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
        close(fd);
    }
    fuse_reply_err(request, -r);
}

void scratch_fsyncdir(fuse_req_t request, fuse_ino_t node, int only_data, struct fuse_file_info *file)
{
    (void)only_data, (void)file;
    fuse_reply_err(request, -view_sync_folder(&world_of(request)->view, node));
}

int scratch_setattr(struct fuse_world *w, uint64_t node, const struct stat *attr, int to_set)
{
    int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
    int fd, r = (to_set & ~(times | FUSE_SET_ATTR_SIZE | FUSE_SET_ATTR_CTIME)) != 0 ? -EPERM : fds_get(w, node, 0, &fd);
    if (r < 0)
        return r;
    if (to_set & FUSE_SET_ATTR_SIZE)
        r = scratch_truncate(w->view.scratch, fd, attr->st_size);
    if (r == 0 && (to_set & times) != 0) {
        struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_nsec = UTIME_OMIT}};
        if (to_set & FUSE_SET_ATTR_ATIME)
            t[0] = to_set & FUSE_SET_ATTR_ATIME_NOW ? (struct timespec){.tv_nsec = UTIME_NOW} : attr->st_atim;
        if (to_set & FUSE_SET_ATTR_MTIME)
            t[1] = to_set & FUSE_SET_ATTR_MTIME_NOW ? (struct timespec){.tv_nsec = UTIME_NOW} : attr->st_mtim;
        r = futimens(fd, t) < 0 ? -errno : 0;
    }
    close(fd);
    return r;
}

/* ---- attributes: kept with the file, where its file system has any */

int scratch_getxattr(struct fuse_world *w, uint64_t node, const char *name, char *buffer, size_t size)
{
    int fd, r = strncmp(name, "user.", 5) != 0 ? -EOPNOTSUPP : fds_get(w, node, 0, &fd);
    if (r < 0)
        return r;
    ssize_t n = fgetxattr(fd, name, buffer, size);
    r = n >= 0 ? (int)n : errno == EOPNOTSUPP ? -ENODATA : -errno;
    close(fd);
    return r;
}

int scratch_setxattr(struct fuse_world *w, uint64_t node, const char *name, const char *value, size_t size)
{
    int fd, r = strncmp(name, "user.", 5) != 0 ? -EOPNOTSUPP : fds_get(w, node, 0, &fd);
    if (r < 0)
        return r;
    r = fsetxattr(fd, name, value, size, 0) < 0 && errno != EOPNOTSUPP ? -errno : 0;
    close(fd);
    return r;
}
