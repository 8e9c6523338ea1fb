/* SPDX-License-Identifier: Apache-2.0 */
/*
 * S3's listing (ListObjectsV2, and V1 of servers that know no other), the only room that knows expat. Elements are told apart by their depth
 * and name; namespaces are not looked at, as services differ there. No document type is read, so that no entity can grow.
 *
 *     <ListBucketResult>  <IsTruncated> <NextContinuationToken>  <Contents> <Key> <Size> </Contents> …
 *     depth 1              2              2                        2          3     3
 *
 * With <EncodingType>url, keys are percent-encoded; some services say so behind the keys only (MinIO). Until it is known, a key that would
 * read differently waits: HELD_MAX of them, as many as a page has.
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
#include "transfer/transfer.h"

enum {
    HELD_MAX = 1000,
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
    bool is_result, in_contents, in_prefixes, collecting, truncated, has_token;
    bool encoded; /* keys are */
    int error; /* why the parser was stopped */
    char *marker;    /* the token; LISTING_S3_KEY and V1's next marker */
    char *last;      /* the last key or folder, as it stands there, where the page tells no marker */
    struct { char *key; uint64_t size; } held[HELD_MAX];
    unsigned held_count;
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
        return strcmp(name, "IsTruncated") == 0 || strcmp(name, "NextContinuationToken") == 0 || strcmp(name, "NextMarker") == 0 ||
               strcmp(name, "EncodingType") == 0;
    if (s->depth == 3 && s->in_prefixes)
        return strcmp(name, "Prefix") == 0;
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
    if (s->depth == 2)
        s->in_prefixes = strcmp(name, "CommonPrefixes") == 0;
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

static void set_text(struct s3 *s, char **to, const char *mark)
{
    char *text = NULL;
    if (asprintf(&text, "%s%s", mark, s->text) < 0) {
        stop(s, -ENOMEM);
        return;
    }
    free(*to);
    *to = text;
}

/* As HTML's forms encode: a plus is a blank. */
static void decode(char *text)
{
    for (char *c = text; (c = strchr(c, '+'));)
        *c = ' ';
    transfer_unescape(text); /* one with an escaped NUL is left as it is, and no id */
}

/* The greater of both, as keys and folders are listed apart. */
static void note_last(struct s3 *s)
{
    if (!s->last || strcmp(s->text, s->last) > 0)
        set_text(s, &s->last, "");
}

static int tell(struct s3 *s, char *key, uint64_t size)
{
    if (s->encoded)
        decode(key);
    const char *id = listing_id_of(key, s->prefix, s->not_images);
    struct listed_image image = { .name = id, .size = size };
    return id ? s->base.fn(s->base.context, &image) : 0;
}

static int tell_held(struct s3 *s)
{
    int r = 0;
    for (unsigned i = 0; i < s->held_count; i++) {
        if (r == 0)
            r = tell(s, s->held[i].key, s->held[i].size);
        free(s->held[i].key);
    }
    s->held_count = 0;
    return r;
}

/* A key whose meaning depends on what is not known yet. */
static int hold(struct s3 *s)
{
    if (s->held_count == HELD_MAX) { /* no service sends so many that encodes them */
        int r = tell_held(s);
        if (r != 0)
            return r;
    }
    char *key = strdup(s->key);
    if (!key)
        return -ENOMEM;
    s->held[s->held_count].key = key;
    s->held[s->held_count++].size = s->size;
    return 0;
}

static void take_text(struct s3 *s, const char *name)
{
    s->text[s->length] = '\0';
    if (strcmp(name, "Key") == 0) {
        memcpy(s->key, s->text, s->length + 1);
        note_last(s);
    } else if (strcmp(name, "Prefix") == 0) {
        note_last(s);
    } else if (strcmp(name, "Size") == 0) {
        char *end;
        errno = 0;
        uint64_t size = strtoull(s->text, &end, 10);
        if (s->length > 0 && *end == '\0' && s->text[0] != '-' && errno == 0 && size <= INT64_MAX)
            s->size = size;
    } else if (strcmp(name, "IsTruncated") == 0) {
        s->truncated = strcmp(s->text, "true") == 0;
    } else if (strcmp(name, "EncodingType") == 0) {
        s->encoded = strcmp(s->text, "url") == 0;
    } else if (strcmp(name, "NextContinuationToken") == 0) {
        s->has_token = true;
        set_text(s, &s->marker, "");
    } else if (!s->has_token) {
        set_text(s, &s->marker, LISTING_S3_KEY);
    }
}

static void on_end(void *context, const char *name)
{
    struct s3 *s = context;
    if (s->collecting)
        take_text(s, name);
    s->collecting = false;
    if (s->depth == 2 && s->in_contents) {
        int r = !s->encoded && strpbrk(s->key, "%+") ? hold(s) : tell(s, s->key, s->size);
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
    if (!s->is_result || (s->truncated && !s->marker && !s->last))
        return -EPROTO;
    r = tell_held(s);
    if (r != 0 || !s->truncated)
        return r;
    if (!s->marker && asprintf(&s->marker, LISTING_S3_KEY "%s", s->last) < 0) {
        s->marker = NULL;
        return -ENOMEM;
    }
    if (s->encoded && !s->has_token)
        decode(s->marker);
    *ret_marker = s->marker;
    return 1;
}

static void s3_free(struct listing *l)
{
    struct s3 *s = (struct s3 *) l;
    if (s->parser)
        XML_ParserFree(s->parser);
    for (unsigned i = 0; i < s->held_count; i++)
        free(s->held[i].key);
    free(s->marker);
    free(s->last);
    free(s);
}

int listing_new_s3(const char *prefix, char *const *not_images, listing_fn *fn, void *context, struct listing **ret)
{
    struct s3 *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->base = (struct listing){ s3_feed, s3_end, s3_free, fn, context, NULL };
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
