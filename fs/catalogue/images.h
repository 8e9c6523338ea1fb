/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the catalogue: what reading and changing image rows share. Included by the catalogue's own files only. */
#ifndef GCFS_CATALOGUE_IMAGES_H
#define GCFS_CATALOGUE_IMAGES_H

#include "catalogue/private.h"

/* In the order cat_image_row() reads them. */
#define CAT_IMAGE_COLUMNS                                                                                           \
    "id, name, state, size, bytes, hits, created, last_accessed, last_modified, described, pinned, endpoint, etag," \
    " modified, digest, title, disk_format, error, tag, place, virtual_size"

int cat_image_row(struct cat_query *q, struct image_row *ret); /* the current row; -EBADMSG: not one we wrote */
int cat_image_find(struct cat_connection *k, const char *name, struct image_row *ret); /* live; -ENOENT */
int cat_image_get(struct cat_connection *k, int64_t id, struct image_row *ret);        /* -ENOENT */
int cat_changed_or(int r, int otherwise); /* of a statement that changed R rows: 0, or OTHERWISE when none was; R when it failed */

#endif
