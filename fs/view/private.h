/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the view share: its rooms, and entries made of rows. Any thread; may block on the disk. */
#ifndef GCFS_VIEW_PRIVATE_H
#define GCFS_VIEW_PRIVATE_H

#include "store/scratch.h"
#include "view/view.h"

/* What the names in a folder are. */
enum view_content {
    CONTENT_NONE, /* rooms only */
    CONTENT_IMAGES,
    CONTENT_CACHED,
    CONTENT_QUEUED,
    CONTENT_INCOMPLETE,
    CONTENT_INVALID,
    CONTENT_BOOTSETS,
    CONTENT_GLANCE,  /* images, and scratch files beside them (glance.c) */
    CONTENT_SCRATCH, /* scratch files (glance.c) */
    CONTENT_HANDED,  /* files that become images when they are moved to cached/; not listed */
    CONTENT_NOVA,    /* images by the hash of their ids (nova.c) */
};

struct view_room {
    const char *name;
    uint64_t node, parent;
    mode_t mode;
    enum view_content content;
    enum scratch_place place; /* of CONTENT_GLANCE and CONTENT_SCRATCH */
    unsigned view;            /* of enum config_views, that it is part of; 0: always there */
};

extern const struct view_room view_rooms[];
extern const size_t view_room_count;

/* The room of a fixed node, the root's too; NULL: there is none, or it is not shown. */
const struct view_room *view_room(const struct view *v, uint64_t node);
const struct view_room *view_room_in(const struct view *v, uint64_t parent, const char *name);
/* Those in PARENT that are shown, from the one at *I of the table on, which goes behind it. NULL: no more. */
const struct view_room *view_room_next(const struct view *v, uint64_t parent, size_t *i);

void view_image_entry(const struct view *v, struct image_row *row, struct view_entry *ret); /* what memory knows better goes into ROW */
void view_document_entry(const struct view *v, uint64_t node, int64_t when, struct view_entry *ret);
void view_room_entry(const struct view *v, const struct view_room *room, struct view_entry *ret);
void view_queued_entry(const struct view *v, const struct queue_row *row, struct view_entry *ret);
/* The boot set of the image of ROW; -ENOENT: it has none. */
int view_bootset_entry(const struct view *v, const struct image_row *row, struct view_entry *ret);
/* One that is being written. */
void view_new_bootset_entry(const struct view *v, int64_t row, struct view_entry *ret);
/* The boot set of the image of ROW; -ENOENT: it has none. */
int view_bootset_entry(const struct view *v, const struct image_row *row, struct view_entry *ret);
void view_new_bootset_entry(const struct view *v, int64_t row, struct view_entry *ret); /* one that is being written */
/* What touch made for an image that is cached already: it can be stat'ed and closed, and is in no listing. */
void view_not_queued_entry(const struct view *v, int64_t row, struct view_entry *ret);
void view_handed_entry(const struct view *v, uint64_t number, uint64_t size, struct view_entry *ret);
void view_scratch_entry(const struct view *v, const struct scratch_file *file, struct view_entry *ret);

/* ---- glance.c: scratch files, in glance/ and the folders in it. -ENOENT, and what the disk says. */

int glance_find(const struct view *v, const struct view_room *room, const char *name, struct view_entry *ret);
/* Is it known without the backend that NAME is no image's? */
bool glance_is_own_name(const struct view *v, const char *name);
/* A file of that name is made, or there. -EEXIST: an image has it. */
int glance_create(const struct view *v, const struct view_room *room, const char *name, struct view_entry *ret);
/* In glance/, an image is evicted and its name stays. May park. */
int glance_unlink(const struct view *v, const struct view_room *room, const char *name, struct waiter *w);
int glance_rename(const struct view *v, const struct view_room *from, const char *name, const struct view_room *to, const char *new_name);
/* Those behind COOKIE, the numbers of which begin at BASE; *ret_more: the buffer was not full. */
int glance_list(const struct view *v, const struct view_room *room, uint64_t base, uint64_t cookie, view_emit_fn *emit, void *context, bool *ret_more);

#endif
