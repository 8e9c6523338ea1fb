/* SPDX-License-Identifier: Apache-2.0 */
/* Links of index pages: references and escapes decoded, and whether they lead into the folder. Pure. */
#include "config-auto.h"

#include "backends/listing/href.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "image/id.h"
#include "transfer/transfer.h"

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

/* Writes the character that the reference at TEXT ("&amp;", "&#38;", "&#x26;") stands for. Returns the reference's
 * length; 0 when it is none. */
static size_t reference(const char *text, char out[4], size_t *ret_length)
{
    static const struct { const char *name; char c; } named[] = {
        { "&amp;", '&' }, { "&lt;", '<' }, { "&gt;", '>' }, { "&quot;", '"' }, { "&apos;", '\'' },
    };
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        size_t length = strlen(named[i].name);
        if (strncmp(text, named[i].name, length) == 0) {
            out[0] = named[i].c;
            *ret_length = 1;
            return length;
        }
    }
    if (strncmp(text, "&#", 2) != 0)
        return 0;
    bool hex = text[2] == 'x' || text[2] == 'X';
    const char *digits = text + (hex ? 3 : 2);
    if (!(hex ? isxdigit((unsigned char) *digits) : isdigit((unsigned char) *digits)))
        return 0;
    char *end;
    unsigned long code = strtoul(digits, &end, hex ? 16 : 10);
    if (*end != ';' || code == 0 || code > 0x10ffff)
        return 0;
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    for (size_t i = n; i-- > 0; code >>= 6)
        out[i] = (char) (i > 0 ? 0x80 | (code & 0x3f) : lead[n] | code);
    *ret_length = n;
    return (size_t) (end - text) + 1;
}

static void resolve_references(char *text)
{
    char *to = text;
    for (const char *from = text; *from;) {
        char c[4];
        size_t length, taken = *from == '&' ? reference(from, c, &length) : 0;
        if (taken == 0) {
            *to++ = *from++;
            continue;
        }
        memcpy(to, c, length); /* a reference is longer than what it stands for */
        to += length;
        from += taken;
    }
    *to = '\0';
}

/* Does HREF begin with a scheme ("https:", "mailto:")? */
static bool has_scheme(const char *href)
{
    size_t n = 0;
    while (isalnum((unsigned char) href[n]) || (href[n] && strchr("+-.", href[n])))
        n++;
    return n > 0 && href[n] == ':';
}

/* The byte at *TEXT, an escaped one decoded, and moves behind it. */
static int next_byte(const char **text)
{
    unsigned byte;
    const char *at = *text;
    if (at[0] == '%' && isxdigit((unsigned char) at[1]) && isxdigit((unsigned char) at[2]) && sscanf(at + 1, "%2x", &byte) == 1) {
        *text += 3;
        return (int) byte;
    }
    *text += *at != '\0';
    return (unsigned char) *at;
}

/* HREF behind FOLDER, which it begins with, escaped as either likes; NULL. */
static char *behind(char *href, const char *folder)
{
    const char *at = href;
    while (*folder) {
        if (next_byte(&at) != next_byte(&folder))
            return NULL;
    }
    return href + (at - href);
}

/* HREF, a whole url or path, from its name on when it lies in the folder at URL; NULL. Whether by http or https does not matter. */
static char *within(char *href, const char *url)
{
    const char *authority = strstr(url, "://") + 3, *path = authority + strcspn(authority, "/");
    size_t length = (size_t) (path - authority);
    if (strncasecmp(href, "http:", 5) == 0)
        href += 5;
    else if (strncasecmp(href, "https:", 6) == 0)
        href += 6;
    if (strncmp(href, "//", 2) == 0) {
        if (strncasecmp(href + 2, authority, length) != 0)
            return NULL;
        href += 2 + length;
    }
    return *href == '/' ? behind(href, path) : NULL;
}

static char *within_any(char *href, char *const *folders)
{
    char *name = NULL;
    for (; folders && *folders && !name; folders++)
        name = within(href, *folders);
    return name;
}

const char *listing_href_id(char *href, char *const *folders)
{
    resolve_references(href);
    while (is_blank(*href))
        href++;
    size_t length = strlen(href);
    while (length > 0 && is_blank(href[length - 1]))
        href[--length] = '\0';

    if (strncmp(href, "./", 2) == 0)
        href += 2;
    else if ((has_scheme(href) || *href == '/') && !(href = within_any(href, folders)))
        return NULL;
    if (strpbrk(href, "/?#")) /* elsewhere, a folder, or the page itself sorted anew */
        return NULL;
    return transfer_unescape(href) >= 0 && image_id_valid(href) ? href : NULL;
}
