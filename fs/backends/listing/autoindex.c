/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nginx's `autoindex_format json`: an array of flat objects. The array is walked here, byte by byte; each object is
 * collected whole and given to jansson, so that one object, not the array, is what is held in memory.
 *
 *     START --[--> FIRST --{--> OBJECT --}--> BEHIND --,--> NEXT --{--> OBJECT
 *                    `--]--> DONE <--]----------'
 *
 * No lock: a parser belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/listing.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "image/id.h"

enum state { START, FIRST, OBJECT, BEHIND, NEXT, DONE };

struct autoindex {
    struct listing base;
    enum state state;
    unsigned depth;  /* OBJECT: braces and brackets open */
    bool in_string;  /* OBJECT */
    bool backslash;  /* OBJECT: the byte before was one, in a string */
    size_t length;   /* OBJECT: bytes in text */
    char text[LISTING_PIECE_MAX];
};

/* nginx says "type": "file", "directory" or "other"; Caddy "is_dir". */
static bool is_file(const json_t *object)
{
    const json_t *type = json_object_get(object, "type");
    if (json_is_string(type))
        return strcmp(json_string_value(type), "file") == 0;
    return !json_is_true(json_object_get(object, "is_dir"));
}

static int whole_object(struct autoindex *a)
{
    json_error_t error;
    json_t *object = json_loadb(a->text, a->length, 0, &error);
    if (!object) {
        /* A name in another encoding is legal on a file server; it cannot be told, but the other names can. */
        enum json_error_code code = json_error_code(&error);
        if (code == json_error_out_of_memory)
            return -ENOMEM;
        return code == json_error_invalid_utf8 || code == json_error_null_character ? 0 : -EPROTO;
    }
    const json_t *size = json_object_get(object, "size");
    struct listed_image image = {
        .name = json_string_value(json_object_get(object, "name")),
        .size = json_is_integer(size) && json_integer_value(size) >= 0 ? (uint64_t) json_integer_value(size)
                                                                        : IMAGE_SIZE_UNKNOWN,
    };
    int r = image.name ? 0 : -EPROTO;
    if (image.name && is_file(object) && image_id_valid(image.name))
        r = a->base.fn(a->base.context, &image);
    json_decref(object);
    return r;
}

/* One byte of an object. Returns 1 when it was the last. */
static int object_byte(struct autoindex *a, char c)
{
    if (a->length == sizeof(a->text))
        return -EPROTO;
    a->text[a->length++] = c;
    if (a->in_string) {
        if (a->backslash)
            a->backslash = false;
        else if (c == '\\')
            a->backslash = true;
        else if (c == '"')
            a->in_string = false;
        return 0;
    }
    if (c == '"')
        a->in_string = true;
    else if (c == '{' || c == '[')
        a->depth++;
    else if (c == '}' || c == ']')
        a->depth--;
    return a->depth == 0;
}

static int outside_byte(struct autoindex *a, char c)
{
    if (c == ' ' || c == '\t' || c == '\r' || c == '\n')
        return 0;
    if (c == '[' && a->state == START) {
        a->state = FIRST;
    } else if (c == '{' && (a->state == FIRST || a->state == NEXT)) {
        a->state = OBJECT;
        a->text[0] = c;
        a->length = 1;
        a->depth = 1;
    } else if (c == ',' && a->state == BEHIND) {
        a->state = NEXT;
    } else if (c == ']' && (a->state == FIRST || a->state == BEHIND)) {
        a->state = DONE;
    } else {
        return -EPROTO;
    }
    return 0;
}

static int autoindex_feed(struct listing *l, const void *data, size_t length)
{
    struct autoindex *a = (struct autoindex *) l;
    const char *text = data;
    for (size_t i = 0; i < length; i++) {
        int r;
        if (a->state == OBJECT) {
            r = object_byte(a, text[i]);
            if (r == 1) {
                a->state = BEHIND;
                r = whole_object(a);
            }
        } else {
            r = outside_byte(a, text[i]);
        }
        if (r != 0)
            return r;
    }
    return 0;
}

static int autoindex_end(struct listing *l, const char **ret_marker)
{
    (void) ret_marker;
    return ((struct autoindex *) l)->state == DONE ? 0 : -EPROTO;
}

static void autoindex_free(struct listing *l)
{
    free(l);
}

int listing_new_autoindex(listing_fn *fn, void *context, struct listing **ret)
{
    struct autoindex *a = malloc(sizeof(*a)); /* not cleared: only what an object needs of the text becomes memory */
    if (!a)
        return -ENOMEM;
    a->base = (struct listing){ autoindex_feed, autoindex_end, autoindex_free, fn, context };
    a->state = START;
    a->depth = 0;
    a->in_string = a->backslash = false;
    a->length = 0;
    *ret = &a->base;
    return 0;
}
