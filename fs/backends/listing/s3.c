/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3's listing (ListObjectsV2), the only room that knows expat. Elements are told apart by their depth and name; namespaces are
 * not looked at, as services differ there. No document type is read, so that no entity can grow.
 *
 *     <ListBucketResult>  <IsTruncated> <NextContinuationToken>  <Contents> <Key> <Size> </Contents> …
 *     depth 1              2              2                        2          3     3
 *
 * No lock: a parser belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/pages.h"

#include <errno.h>
#include <expat.h>
#include <stdlib.h>
#include <string.h>

#include "image/id.h"

enum {
    TEXT_MAX = 4096, /* of an element: a key has 1024 bytes at most */
    DEPTH_MAX = 32,
    TOKEN_MAX = 256 << 10, /* bytes of a tag or comment, which expat holds whole */
    NAMES_MAX = 128,       /* different names of elements and attributes, which it keeps: services have some twenty */
    NAME_MAX_LENGTH = 63,
};

struct s3 {
    struct listing base;
    XML_Parser parser;
    const char *prefix;
    char *const *not_images;
    unsigned depth;
    bool is_result, in_contents, collecting, truncated;
    int error; /* why the parser was stopped */
    char *marker;
    uint64_t size;
    char key[TEXT_MAX + 1], text[TEXT_MAX + 1];
    size_t length; /* of text */
    uint64_t fed;  /* bytes */
    unsigned names_count;
    char names[NAMES_MAX][NAME_MAX_LENGTH + 1];
};

static void stop(struct s3 *s, int error)
{
    s->error = error;
    XML_StopParser(s->parser, XML_FALSE);
}

/* False: that is one too many. */
static bool note_name(struct s3 *s, const char *name)
{
    for (unsigned i = 0; i < s->names_count; i++)
        if (strcmp(s->names[i], name) == 0)
            return true;
    if (s->names_count == NAMES_MAX || strlen(name) > NAME_MAX_LENGTH)
        return false;
    strcpy(s->names[s->names_count++], name);
    return true;
}

static bool is_wanted(const struct s3 *s, const char *name)
{
    if (s->depth == 2)
        return strcmp(name, "IsTruncated") == 0 || strcmp(name, "NextContinuationToken") == 0;
    return s->depth == 3 && s->in_contents && (strcmp(name, "Key") == 0 || strcmp(name, "Size") == 0);
}

static void on_start(void *context, const char *name, const char **attributes)
{
    struct s3 *s = context;
    bool known = note_name(s, name);
    for (; *attributes && known; attributes += 2)
        known = note_name(s, *attributes);
    if (++s->depth > DEPTH_MAX || !known) {
        stop(s, -EPROTO);
        return;
    }
    if (s->depth == 1)
        s->is_result = strcmp(name, "ListBucketResult") == 0;
    if (s->depth == 2 && strcmp(name, "Contents") == 0) {
        s->in_contents = true;
        s->key[0] = '\0';
        s->size = IMAGE_SIZE_UNKNOWN;
    }
    s->collecting = is_wanted(s, name);
    s->length = 0;
}

static void on_text(void *context, const char *text, int length)
{
    struct s3 *s = context;
    if (!s->collecting)
        return;
    if ((size_t) length > TEXT_MAX - s->length) {
        stop(s, -EPROTO);
        return;
    }
    memcpy(s->text + s->length, text, (size_t) length);
    s->length += (size_t) length;
}

static void take_text(struct s3 *s, const char *name)
{
    s->text[s->length] = '\0';
    if (strcmp(name, "Key") == 0) {
        memcpy(s->key, s->text, s->length + 1);
    } else if (strcmp(name, "Size") == 0) {
        char *end;
        errno = 0;
        uint64_t size = strtoull(s->text, &end, 10);
        if (s->length > 0 && *end == '\0' && s->text[0] != '-' && errno == 0 && size <= INT64_MAX)
            s->size = size;
    } else if (strcmp(name, "IsTruncated") == 0) {
        s->truncated = strcmp(s->text, "true") == 0;
    } else {
        free(s->marker);
        s->marker = strdup(s->text);
        if (!s->marker)
            stop(s, -ENOMEM);
    }
}

static void on_end(void *context, const char *name)
{
    struct s3 *s = context;
    if (s->collecting)
        take_text(s, name);
    s->collecting = false;
    if (s->depth == 2 && s->in_contents) {
        const char *id = listing_id_of(s->key, s->prefix, s->not_images);
        struct listed_image image = { .name = id, .size = s->size };
        int r = id ? s->base.fn(s->base.context, &image) : 0;
        if (r != 0)
            stop(s, r);
        s->in_contents = false;
    }
    s->depth--;
}

static void on_doctype(void *context, const char *name, const char *system, const char *public, int internal)
{
    (void) name, (void) system, (void) public, (void) internal;
    stop(context, -EPROTO);
}

/* Where the token under way began; negative: not known. */
static int64_t token_offset(XML_Parser parser)
{
#if XML_MAJOR_VERSION > 2 || (XML_MAJOR_VERSION == 2 && XML_MINOR_VERSION >= 9)
    return XML_GetCurrentByteIndex64(parser);
#else
    return XML_GetCurrentByteIndex(parser);
#endif
}

static int parse(struct s3 *s, const char *text, size_t length, bool last)
{
    while (length > 0 || last) {
        size_t n = length < LISTING_PIECE_MAX ? length : LISTING_PIECE_MAX;
        if (XML_Parse(s->parser, text, (int) n, last && n == length) != XML_STATUS_OK)
            return s->error != 0 ? s->error : XML_GetErrorCode(s->parser) == XML_ERROR_NO_MEMORY ? -ENOMEM : -EPROTO;
        text += n;
        length -= n;
        s->fed += n;
        int64_t at = token_offset(s->parser);
        if (s->fed > TOKEN_MAX + (uint64_t) (at > 0 ? at : 0))
            return -EPROTO;
        if (length == 0)
            break;
    }
    return 0;
}

static int s3_feed(struct listing *l, const void *data, size_t length)
{
    return parse((struct s3 *) l, data, length, false);
}

static int s3_end(struct listing *l, const char **ret_marker)
{
    struct s3 *s = (struct s3 *) l;
    int r = parse(s, "", 0, true);
    if (r != 0)
        return r;
    if (!s->is_result || (s->truncated && !s->marker))
        return -EPROTO;
    if (!s->truncated)
        return 0;
    *ret_marker = s->marker;
    return 1;
}

static void s3_free(struct listing *l)
{
    struct s3 *s = (struct s3 *) l;
    if (s->parser)
        XML_ParserFree(s->parser);
    free(s->marker);
    free(s);
}

int listing_new_s3(const char *prefix, char *const *not_images, listing_fn *fn, void *context, struct listing **ret)
{
    struct s3 *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->base = (struct listing){ s3_feed, s3_end, s3_free, fn, context };
    s->prefix = prefix;
    s->not_images = not_images;
    s->parser = XML_ParserCreate(NULL);
    if (!s->parser) {
        s3_free(&s->base);
        return -ENOMEM;
    }
    XML_SetUserData(s->parser, s);
    XML_SetElementHandler(s->parser, on_start, on_end);
    XML_SetCharacterDataHandler(s->parser, on_text);
    XML_SetStartDoctypeDeclHandler(s->parser, on_doctype);
    *ret = &s->base;
    return 0;
}
