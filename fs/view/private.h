/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the view share: the fixed nodes, and entries made of rows. Any thread; may block on the disk. */
#ifndef GCFS_VIEW_PRIVATE_H
#define GCFS_VIEW_PRIVATE_H

#include "view/view.h"

enum { VIEW_FIXED = 6 };

struct view_fixed {
    const char *name;
    uint64_t node;
    mode_t mode;
};

extern const struct view_fixed view_fixed[VIEW_FIXED]; /* the root's */

void view_image_entry(const struct view *v, struct image_row *row, struct view_entry *ret); /* what memory knows better goes into ROW */
void view_document_entry(const struct view *v, uint64_t node, int64_t when, struct view_entry *ret);
void view_fixed_entry(const struct view *v, const struct view_fixed *f, struct view_entry *ret);
void view_queued_entry(const struct view *v, const struct queue_row *row, struct view_entry *ret);
/* What touch made for an image that is cached already: it can be stat'ed and closed, and is in no listing. */
void view_not_queued_entry(const struct view *v, int64_t row, struct view_entry *ret);

#endif
