/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The document is walked byte by byte; each object of the array, and each other member of the document, is collected whole and given to
 * jansson, so that its length, not the array's, is what is held in memory.
 *
 *     START --{--> MEMBER --"array":--> OPEN --[--> FIRST --{--> OBJECT --}--> BEHIND --,--> NEXT --{--> OBJECT
 *       |            ^ |  value                       |                          |
 *       |          , | v                              `-----------]--------------+--> AFTER --}--> DONE
 *       `--[--> FIRST (and the array's ] leads to DONE)                               | ,
 *                                                                                     `----> MEMBER
 * No lock: a walk belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/json_text.h"

enum state { START, MEMBER, OPEN, FIRST, OBJECT, BEHIND, NEXT, AFTER, DONE };

struct objects {
    const struct objects_ops *ops;
    void *context;
    enum state state;
    unsigned depth; /* braces and brackets open in what is collected */
    bool in_string, backslash; /* backslash: the byte before was one, in a string */
    bool named;     /* MEMBER: its colon came */
    bool had_array;
    bool had_member; /* a comma came, or a member did: what follows must be one */
    size_t length;  /* bytes in text */
    char text[OBJECTS_PIECE_MAX];
};

int objects_new(const struct objects_ops *ops, void *context, struct objects **ret)
{
    struct objects *o = malloc(sizeof(*o)); /* not cleared: only what an object needs of the text becomes memory */
    if (!o)
        return -ENOMEM;
    memset(o, 0, offsetof(struct objects, text));
    o->ops = ops;
    o->context = context;
    *ret = o;
    return 0;
}

void objects_free(struct objects *o)
{
    free(o);
}

bool objects_ended(const struct objects *o)
{
    return o->state == DONE && o->had_array;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static int put(struct objects *o, char c)
{
    if (o->length == sizeof(o->text))
        return -EPROTO;
    o->text[o->length++] = c;
    return 0;
}

static int give(struct objects *o, int (*fn)(void *context, const json_t *value))
{
    if (!json_text_is_modest(o->text, o->length))
        return -EPROTO;
    json_error_t error;
    json_t *value = json_loadb(o->text, o->length, 0, &error);
    if (!value) {
        enum json_error_code code = json_error_code(&error);
        if (code == json_error_out_of_memory)
            return -ENOMEM;
        return o->ops->any_text && (code == json_error_invalid_utf8 || code == json_error_null_character) ? 0 : -EPROTO;
    }
    int r = fn ? fn(o->context, value) : 0;
    json_decref(value);
    return r;
}

static void begin(struct objects *o, enum state state)
{
    o->state = state;
    o->length = 0;
    o->depth = 0;
    o->in_string = o->backslash = o->named = false;
    put(o, '{');
}

/* Follows strings and depth; true: C stands outside of any string. */
static bool follow(struct objects *o, char c)
{
    if (o->in_string) {
        if (o->backslash)
            o->backslash = false;
        else if (c == '\\')
            o->backslash = true;
        else if (c == '"')
            o->in_string = false;
        return false;
    }
    if (c == '"')
        o->in_string = true;
    return c != '"';
}

static int object_byte(struct objects *o, char c)
{
    int r = put(o, c);
    if (r < 0 || !follow(o, c))
        return r;
    if (c == '{' || c == '[')
        o->depth++;
    else if ((c == '}' || c == ']') && o->depth-- == 0)
        o->state = BEHIND;
    return o->state == BEHIND ? give(o, o->ops->object) : 0;
}

/* Is what was collected of a member the name of the array? */
static bool names_array(const struct objects *o)
{
    const char *at = o->text + 1, *end = o->text + o->length;
    size_t length = strlen(o->ops->array);
    while (at < end && is_blank(*at))
        at++;
    while (end > at && is_blank(end[-1]))
        end--;
    return (size_t)(end - at) == length + 2 && at[0] == '"' && end[-1] == '"' && memcmp(at + 1, o->ops->array, length) == 0;
}

/* A member ends before the comma or brace that follows it. */
static int end_member(struct objects *o, char c)
{
    bool blank = true;
    for (size_t i = 1; i < o->length && blank; i++)
        blank = is_blank(o->text[i]);
    if (blank && (c == ',' || o->had_member)) /* {} has no member, but {, and "a":1,} are wrong */
        return -EPROTO;
    int r = blank ? 0 : put(o, '}');
    if (r == 0 && !blank)
        r = give(o, o->ops->member);
    o->had_member = true;
    if (c == '}')
        o->state = DONE;
    else
        begin(o, MEMBER);
    return r;
}

static int member_byte(struct objects *o, char c)
{
    bool outside = follow(o, c);
    if (outside && o->depth == 0 && (c == ',' || c == '}'))
        return end_member(o, c);
    if (outside && o->depth == 0 && c == ':' && !o->named) {
        o->named = true;
        if (names_array(o)) {
            o->state = OPEN;
            return o->had_array ? -EPROTO : 0;
        }
    }
    if (outside && (c == '{' || c == '['))
        o->depth++;
    else if (outside && (c == '}' || c == ']') && o->depth-- == 0)
        return -EPROTO;
    return put(o, c);
}

static int outside_byte(struct objects *o, char c)
{
    bool whole = o->ops->array == NULL;
    if (is_blank(c))
        return 0;
    if (c == '[' && ((o->state == START && whole) || o->state == OPEN)) {
        o->state = FIRST;
        o->had_array = true;
    } else if (c == '{' && o->state == START && !whole) {
        begin(o, MEMBER);
    } else if (c == '{' && (o->state == FIRST || o->state == NEXT)) {
        begin(o, OBJECT);
    } else if (c == ',' && o->state == BEHIND) {
        o->state = NEXT;
    } else if (c == ']' && (o->state == FIRST || o->state == BEHIND)) {
        o->state = whole ? DONE : AFTER;
        o->had_member = true;
    } else if (c == ',' && o->state == AFTER) {
        begin(o, MEMBER);
    } else if (c == '}' && o->state == AFTER) {
        o->state = DONE;
    } else {
        return -EPROTO;
    }
    return 0;
}

int objects_feed(struct objects *o, const void *data, size_t length)
{
    const char *text = data;
    int r = 0;
    for (size_t i = 0; i < length && r == 0; i++) {
        if (o->state == OBJECT)
            r = object_byte(o, text[i]);
        else if (o->state == MEMBER)
            r = member_byte(o, text[i]);
        else
            r = outside_byte(o, text[i]);
    }
    return r;
}
