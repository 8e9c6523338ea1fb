/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the objects of a JSON array of any length, piece by piece: one object is held at a time. The array is the whole document, or a member
 * of the object that is. Pure; a walk belongs to one thread.
 */
#ifndef GCFS_OBJECTS_H
#define GCFS_OBJECTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct objects;

struct objects_ops {
    const char *array;   /* the member of the document's object that is the array; NULL: the document is the array */
    bool any_text;       /* an object with text that is no UTF-8, or a NUL, is passed over; else it is -EPROTO */
    /* Each object of the array, valid during the call. Other than 0 ends the walk with that. */
    int (*object)(void *context, const json_t *object);
    /* With ARRAY: each other member, as an object of it alone. May be NULL. */
    int (*member)(void *context, const json_t *member);
};

/* The most that is held: an object or member longer than this is -EPROTO, as is one with a great many values. Bytes. */
enum { OBJECTS_PIECE_MAX = 256 << 10 };

int objects_new(const struct objects_ops *ops, void *context, struct objects **ret); /* OPS must outlive it. -ENOMEM */
int objects_feed(struct objects *o, const void *data, size_t length); /* 0; what OPS returned; -EPROTO; -ENOMEM */
bool objects_ended(const struct objects *o); /* the document, with the array in it, came to its end */
void objects_free(struct objects *o);        /* NULL is fine */

#endif
