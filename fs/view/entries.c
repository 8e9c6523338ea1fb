/* SPDX-License-Identifier: Apache-2.0 */
/* What is seen of each node: its attributes, and how long the kernel may keep them. No state. */
#include "config-auto.h"

#include "view/private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "image/id.h"

/* How long the kernel may keep what it saw. A name that is another image by now is looked up again when it is opened; bytes on their way change all the time. */
static const double KEEP = 1.0, KEEP_NOT = 0.0;

static struct timespec to_timespec(int64_t ns)
{
    return (struct timespec){.tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S};
}

static blkcnt_t blocks_of(uint64_t bytes)
{
    return (blkcnt_t)(bytes / 512 + (bytes % 512 != 0));
}

static void fill(const struct view *v, uint64_t node, mode_t mode, uint64_t size, struct stat *st)
{
    *st = (struct stat){.st_ino = node, .st_mode = mode & (S_IFMT | v->mask), .st_nlink = S_ISDIR(mode) ? 2 : 1, .st_uid = v->uid, .st_gid = v->gid,
                        .st_size = (off_t)size, .st_blocks = blocks_of(size), .st_blksize = 128 * 1024};
}

static void fill_times(struct stat *st, int64_t accessed, int64_t modified, int64_t changed)
{
    st->st_atim = to_timespec(accessed);
    st->st_mtim = to_timespec(modified);
    st->st_ctim = to_timespec(changed);
}

/* The time of the mount: what reads a folder twice (tar, rsync) must not see it change each time. */
static void folder_times(const struct view *v, struct stat *st)
{
    int64_t mounted = engine_mounted_at(v->engine);
    fill_times(st, mounted, mounted, mounted);
}

void view_image_entry(const struct view *v, struct image_row *row, struct view_entry *ret)
{
    engine_refresh(v->engine, row);
    ret->node = node_make(KIND_IMAGE, row->row);
    uint64_t size = row->meta.size == IMAGE_SIZE_UNKNOWN ? 0 : row->meta.size;
    fill(v, ret->node, S_IFREG | 0644, size, &ret->attr); /* to be written by its owner: pins are, the bytes never */
    /* The bytes that are here. But a file without any block is one large hole to tar, which would read none of it. */
    ret->attr.st_blocks = blocks_of(row->bytes > 0 || size == 0 ? row->bytes : 1);
    /* Bytes of an inode never change, and so do its times not: whoever copies it must not see it move while it is fetched. */
    fill_times(&ret->attr, row->last_accessed ? row->last_accessed : row->created, row->created, row->created);
    ret->entry_timeout = KEEP;
    ret->attr_timeout = row->state == IMAGE_PARTIAL ? KEEP_NOT : KEEP;
    if (row->meta.size == IMAGE_SIZE_UNKNOWN) /* known from a listing without sizes: to be looked up before it is shown */
        ret->entry_timeout = KEEP_NOT;
}

void view_document_entry(const struct view *v, uint64_t node, int64_t when, struct view_entry *ret)
{
    char *text;
    size_t length = 0;
    if (view_document(v, node, &text, &length) == 0)
        free(text);
    ret->node = node;
    fill(v, node, S_IFREG | 0444, length, &ret->attr);
    fill_times(&ret->attr, when, when, when);
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

/* The folders in the room NODE. */
static nlink_t folders_in(const struct view *v, uint64_t node)
{
    const struct view_room *room;
    size_t i = 0;
    nlink_t n = 0;
    while ((room = view_room_next(v, node, &i)) != NULL)
        n += S_ISDIR(room->mode);
    return n;
}

void view_room_entry(const struct view *v, const struct view_room *room, struct view_entry *ret)
{
    if (room->node == NODE_STATUS) {
        view_document_entry(v, room->node, clock_now(), ret);
        return;
    }
    ret->node = room->node;
    fill(v, room->node, room->mode, 0, &ret->attr);
    ret->attr.st_nlink += folders_in(v, room->node);
    folder_times(v, &ret->attr);
    ret->entry_timeout = room->view == 0 ? 3600 : KEEP; /* the others may be asked for no more */
    ret->attr_timeout = KEEP;
}

void view_not_queued_entry(const struct view *v, int64_t row, struct view_entry *ret)
{
    ret->node = node_make(KIND_NOT_QUEUED, row);
    fill(v, ret->node, S_IFREG | 0644, 0, &ret->attr);
    fill_times(&ret->attr, clock_now(), clock_now(), clock_now());
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

void view_scratch_entry(const struct view *v, const struct scratch_file *file, struct view_entry *ret)
{
    ret->node = node_make(KIND_SCRATCH, (int64_t)file->number);
    fill(v, ret->node, S_IFREG | 0644, (uint64_t)file->st.st_size, &ret->attr);
    ret->attr.st_blocks = file->st.st_blocks;
    ret->attr.st_atim = file->st.st_atim;
    ret->attr.st_mtim = file->st.st_mtim;
    ret->attr.st_ctim = file->st.st_ctim;
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

void view_handed_entry(const struct view *v, uint64_t number, uint64_t size, struct view_entry *ret)
{
    ret->node = node_make(KIND_HANDED, (int64_t)number);
    fill(v, ret->node, S_IFREG | 0600, size, &ret->attr);
    fill_times(&ret->attr, clock_now(), clock_now(), clock_now());
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
}

void view_queued_entry(const struct view *v, const struct queue_row *row, struct view_entry *ret)
{
    view_document_entry(v, node_make(KIND_QUEUED, row->row), row->queued, ret);
    ret->attr.st_mode = S_IFREG | (0644 & v->mask);
}

void view_new_bootset_entry(const struct view *v, int64_t row, struct view_entry *ret)
{
    view_not_queued_entry(v, row, ret);
    ret->node = ret->attr.st_ino = node_make(KIND_BOOTSET, row);
}

int view_bootset_entry(const struct view *v, const struct image_row *row, struct view_entry *ret)
{
    struct store_file file;
    int r = engine_bootset_stat(v->engine, row->name, &file);
    if (r < 0)
        return r;
    ret->node = node_make(KIND_BOOTSET, row->row);
    fill(v, ret->node, S_IFREG | 0644, file.size, &ret->attr);
    fill_times(&ret->attr, file.modified, file.modified, file.modified);
    ret->entry_timeout = ret->attr_timeout = KEEP_NOT;
    return 0;
}

static int room_attr(const struct view *v, uint64_t node, struct stat *ret)
{
    struct view_entry entry;
    const struct view_room *room = view_room(v, node);
    if (room == NULL)
        return -ESTALE;
    view_room_entry(v, room, &entry);
    *ret = entry.attr;
    return 0;
}

static int scratch_attr(const struct view *v, uint64_t node, struct view_entry *ret)
{
    struct scratch_file file;
    int r = v->scratch == NULL ? -ENOENT : scratch_get(v->scratch, (uint64_t)node_row(node), &file);
    if (r == 0)
        view_scratch_entry(v, &file, ret);
    return r;
}

int view_getattr(const struct view *v, uint64_t node, struct stat *ret, double *ret_timeout)
{
    struct view_entry entry = {.attr_timeout = KEEP_NOT};
    struct image_row image;
    struct queue_row queued;
    struct invalid_row invalid;
    uint64_t size = 0;
    int r = 0;

    switch (node_kind(node)) {
    case KIND_FIXED:
        r = room_attr(v, node, &entry.attr);
        break;
    case KIND_IMAGE:
        r = catalogue_get(v->catalogue, node_row(node), &image);
        if (r == 0)
            view_image_entry(v, &image, &entry);
        break;
    case KIND_QUEUED:
        r = catalogue_queue_get(v->catalogue, node_row(node), &queued);
        if (r == 0)
            view_queued_entry(v, &queued, &entry);
        else if (r == -ENOENT) { /* done since it was touched */
            view_not_queued_entry(v, node_row(node), &entry);
            entry.attr.st_ino = node;
            r = 0;
        }
        break;
    case KIND_INVALID:
        r = catalogue_invalid_get(v->catalogue, node_row(node), &invalid);
        if (r == 0)
            view_document_entry(v, node, invalid.when, &entry);
        break;
    case KIND_NOT_QUEUED:
        view_not_queued_entry(v, node_row(node), &entry);
        break;
    case KIND_BOOTSET:
        r = catalogue_get(v->catalogue, node_row(node), &image);
        if (r == 0 && view_bootset_entry(v, &image, &entry) < 0)
            view_new_bootset_entry(v, node_row(node), &entry);
        break;
    case KIND_SCRATCH:
        r = scratch_attr(v, node, &entry);
        break;
    case KIND_HANDED:
        r = engine_hand_size(v->engine, (uint64_t)node_row(node), &size);
        view_handed_entry(v, (uint64_t)node_row(node), size, &entry);
        break;
    }
    if (r < 0)
        return r == -ENOENT ? -ESTALE : r;
    *ret = entry.attr;
    *ret_timeout = entry.attr_timeout;
    return 0;
}

int view_statvfs(const struct view *v, struct statvfs *ret)
{
    enum { BLOCK = 4096 };
    struct engine_space space;
    int r = engine_space(v->engine, &space);
    if (r < 0)
        return r;
    uint64_t left = space.used < space.limit ? space.limit - space.used : 0;
    *ret = (struct statvfs){
        .f_bsize = BLOCK, .f_frsize = BLOCK, .f_namemax = IMAGE_ID_MAX,
        .f_blocks = space.limit / BLOCK, .f_bfree = left / BLOCK, .f_bavail = left / BLOCK,
        /* No f_files: there is no number of inodes to run out of, and with none free it would be an alarm. */
    };
    return 0;
}
