/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Index pages: as much of HTML as it takes to find the links of a page that a web server made of a folder, and to be
 * misled by nothing else in it (comments, scripts, other elements, garbage).
 *
 *     TEXT --<--> OPEN --name--> LINK (of <a>: kept)  --">"--> TEXT       RAW: inside <script> and <style>, until
 * </name
 *                   |    `-----> TAG (others: dropped) --">"--> TEXT or RAW
 *                   `--!--> DECLARATION --">"--> TEXT,  --"--"--> COMMENT --"-->"--> TEXT
 *
 * What is held: one <a> tag, and the image of the last link. That image is told when another name comes or the page
 * ends, because its size may stand behind its link, and because Apache links the icon and the name of each file.
 * No lock: a parser belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/listing.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "backends/listing/href.h"
#include "image/id.h"

enum state { TEXT, OPEN, TAG, LINK, DECLARATION, COMMENT, RAW };

enum {
    NAME_MAX_LENGTH = 7,  /* of an element that matters ("script") and one more, so that longer ones differ */
    TAIL_MAX_LENGTH = 63, /* of date and size */
    ID_ENCODED_MAX = 16 * IMAGE_ID_MAX, /* every byte as the longest reference: "&#0000000037;" and to spare */
};

struct page {
    struct listing base;
    enum state state;
    size_t tags;      /* seen so far */
    bool html_open;   /* <html> came and </html> did not */
    bool closing;     /* OPEN, TAG: it began with "</" */
    char name[NAME_MAX_LENGTH + 1]; /* OPEN, TAG, RAW: of the element, lower case */
    size_t name_length;
    char quote;       /* TAG, LINK: the quote that is open; 0 */
    char before;      /* TAG, LINK: the last byte that was no blank */
    size_t dashes;    /* DECLARATION: that it began with. COMMENT: in a row, just now */
    size_t matched;   /* RAW: bytes of "</name" */
    bool in_tail;     /* TEXT: behind </a>, in the same line */
    size_t tail_length;
    char tail[TAIL_MAX_LENGTH + 1];
    bool pending;     /* there is an image not yet told: */
    bool is_its_link; /* the last link was this image's: what stands behind it is its size */
    uint64_t size;
    char id[IMAGE_ID_MAX + 1];
    size_t length;    /* LINK: bytes in text */
    char text[LISTING_PIECE_MAX];
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static int tell_pending(struct page *p)
{
    if (!p->pending)
        return 0;
    p->pending = false;
    struct listed_image image = { .name = p->id, .size = p->size };
    return p->base.fn(p->base.context, &image);
}

/* ---- the size behind a link: "22-Nov-2026 17:45       1296384" */

/* Does TEXT look like PATTERN, of which '9' stands for a digit and 'a' for a letter? */
static bool looks_like(const char *text, const char *pattern)
{
    for (; *pattern; text++, pattern++) {
        unsigned char c = (unsigned char) *text;
        if (*pattern == '9' ? !isdigit(c) : *pattern == 'a' ? !isalpha(c) : c != (unsigned char) *pattern)
            return false;
    }
    return true;
}

static void end_tail(struct page *p)
{
    static const char date[] = "99-aaa-9999 99:99 ";
    p->in_tail = false;
    p->tail[p->tail_length] = '\0';
    if (!looks_like(p->tail, date))
        return;
    const char *at = p->tail + sizeof(date) - 1;
    at += strspn(at, " ");
    if (!isdigit((unsigned char) *at))
        return;
    char *end;
    errno = 0;
    unsigned long long size = strtoull(at, &end, 10);
    if (errno == 0 && size <= INT64_MAX && end[strspn(end, " \r")] == '\0') /* "20K" is rounded, and "-" is a folder's */
        p->size = size;
}

static void tail_byte(struct page *p, char c)
{
    if (c == '\n' || c == '<')
        end_tail(p);
    else if (c == '\0' || p->tail_length == TAIL_MAX_LENGTH)
        p->in_tail = false;
    else if (p->tail_length > 0 || c != ' ')
        p->tail[p->tail_length++] = c;
}

/* ---- the link: its href */

static size_t skip_blanks(const char *text, size_t at, size_t length)
{
    while (at < length && (is_blank(text[at]) || text[at] == '/'))
        at++;
    return at;
}

/* Finds the value of href among the attributes of the tag; its bytes and the first byte behind them. */
static bool find_href(const char *text, size_t length, size_t *ret_start, size_t *ret_end)
{
    size_t at = 0;
    while ((at = skip_blanks(text, at, length)) < length) {
        size_t name = at;
        while (at < length && !is_blank(text[at]) && (text[at] != '=' || at == name) && text[at] != '/')
            at++;
        bool is_href = at - name == 4 && strncasecmp(text + name, "href", 4) == 0;
        while (at < length && is_blank(text[at]))
            at++;
        if (at == length || text[at] != '=')
            continue;
        do
            at++;
        while (at < length && is_blank(text[at]));
        char quote = at < length && (text[at] == '"' || text[at] == '\'') ? text[at++] : '\0';
        size_t value = at;
        while (at < length && (quote ? text[at] != quote : !is_blank(text[at])))
            at++;
        if (is_href) {
            *ret_start = value;
            *ret_end = at;
            return true;
        }
        at += quote != '\0';
    }
    return false;
}

static int whole_link(struct page *p)
{
    size_t start, end;
    p->is_its_link = false;
    if (!find_href(p->text, p->length, &start, &end))
        return 0;
    if (end - start > ID_ENCODED_MAX || memchr(p->text + start, '\0', end - start))
        return 0;
    char href[ID_ENCODED_MAX + 1];
    memcpy(href, p->text + start, end - start);
    href[end - start] = '\0';

    const char *id = listing_href_id(href, p->base.folders);
    if (!id)
        return 0;
    p->is_its_link = true;
    if (p->pending && strcmp(id, p->id) == 0)
        return 0;
    int r = tell_pending(p);
    if (r != 0)
        return r;
    strcpy(p->id, id); /* a valid id fits */
    p->size = IMAGE_SIZE_UNKNOWN;
    p->pending = true;
    return 0;
}

/* ---- the page */

static bool is_element(const struct page *p, const char *name)
{
    return strcmp(p->name, name) == 0;
}

/* A tag's ">" came. */
static int end_tag(struct page *p)
{
    bool link = p->state == LINK;
    p->state = TEXT;
    p->tags++;
    if (link)
        return whole_link(p);
    if (is_element(p, "html")) {
        p->html_open = !p->closing;
    } else if (is_element(p, "a")) {
        p->in_tail = p->is_its_link;
        p->tail_length = 0;
    } else if (!p->closing && (is_element(p, "script") || is_element(p, "style"))) {
        p->state = RAW;
        p->matched = 0;
    }
    return 0;
}

static int tag_byte(struct page *p, char c)
{
    if (c == '>' && !p->quote)
        return end_tag(p);
    if (p->quote == c)
        p->quote = '\0';
    else if (!p->quote && (c == '"' || c == '\'') && p->before == '=')
        p->quote = c;
    if (!is_blank(c))
        p->before = c;
    if (p->state == TAG)
        return 0;
    if (p->length == sizeof(p->text))
        return -EPROTO;
    p->text[p->length++] = c;
    return 0;
}

/* Behind "<": the name of an element, or something else. */
static int open_byte(struct page *p, char c)
{
    if (p->name_length == 0) {
        if (c == '/' && !p->closing) {
            p->closing = true;
            return 0;
        }
        if (c == '!' && !p->closing) {
            p->state = DECLARATION;
            p->dashes = 0;
            return 0;
        }
        if (!isalpha((unsigned char) c)) { /* a "<" that opens nothing, as in "a < b" */
            p->state = c == '<' ? OPEN : TEXT;
            p->closing = false;
            return 0;
        }
    }
    if (isalnum((unsigned char) c) || c == '-') {
        if (p->name_length < NAME_MAX_LENGTH)
            p->name[p->name_length++] = (char) tolower((unsigned char) c);
        return 0;
    }
    p->name[p->name_length] = '\0';
    p->state = is_element(p, "a") && !p->closing ? LINK : TAG;
    p->quote = p->before = '\0';
    p->length = 0;
    return tag_byte(p, c);
}

static void declaration_byte(struct page *p, char c)
{
    if (p->state == DECLARATION && c == '-' && p->dashes < 2) {
        if (++p->dashes == 2) /* and "<!-->" is a comment already */
            p->state = COMMENT;
    } else if (p->state == DECLARATION) {
        p->dashes = 2;
        if (c == '>')
            p->state = TEXT;
    } else if (c == '-') {
        p->dashes++;
    } else {
        if (c == '>' && p->dashes >= 2)
            p->state = TEXT;
        p->dashes = 0;
    }
}

/* Inside a script nothing is a tag but its own end. */
static void raw_byte(struct page *p, char c)
{
    size_t length = strlen(p->name);
    char wanted = p->matched == 0 ? '<' : p->matched == 1 ? '/' : p->name[p->matched - 2];
    if (tolower((unsigned char) c) == wanted)
        p->matched++;
    else
        p->matched = c == '<';
    if (p->matched == length + 2) {
        p->state = TAG;
        p->closing = true;
        p->quote = p->before = '\0';
    }
}

static void text_byte(struct page *p, char c)
{
    if (p->in_tail)
        tail_byte(p, c);
    if (c == '<') {
        p->state = OPEN;
        p->closing = false;
        p->name_length = 0;
    }
}

static int page_byte(struct page *p, char c)
{
    switch (p->state) {
    case TEXT:
        text_byte(p, c);
        return 0;
    case OPEN:
        return open_byte(p, c);
    case TAG:
    case LINK:
        return tag_byte(p, c);
    case DECLARATION:
    case COMMENT:
        declaration_byte(p, c);
        return 0;
    case RAW:
        raw_byte(p, c);
        return 0;
    }
    return -EPROTO;
}

static int page_feed(struct listing *l, const void *data, size_t length)
{
    struct page *p = (struct page *) l;
    const char *text = data;
    for (size_t i = 0; i < length; i++) {
        int r = page_byte(p, text[i]);
        if (r != 0)
            return r;
    }
    return 0;
}

static int page_end(struct listing *l, const char **ret_marker)
{
    struct page *p = (struct page *) l;
    (void) ret_marker;
    if (p->tags == 0 || p->state != TEXT || p->html_open)
        return -EPROTO;
    int r = tell_pending(p);
    return r < 0 ? r : 0;
}

static void page_free(struct listing *l)
{
    free(l);
}

int listing_new_page(listing_fn *fn, void *context, struct listing **ret)
{
    struct page *p = malloc(sizeof(*p)); /* of the text, only what a link needs becomes memory */
    if (!p)
        return -ENOMEM;
    memset(p, 0, offsetof(struct page, text));
    p->base = (struct listing){ page_feed, page_end, page_free, fn, context, NULL };
    p->state = TEXT;
    *ret = &p->base;
    return 0;
}
