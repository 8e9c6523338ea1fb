/* SPDX-License-Identifier: Apache-2.0 */
/* The checks of one request's head. No state. */
#include "config-auto.h"

#include "api/http/framing.h"

#include <string.h>
#include <strings.h>

static bool is_token(const char *text)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (const char *c = text; *c != '\0'; c++) {
        bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9');
        if (!letter && strchr(others, *c) == NULL)
            return false;
    }
    return text[0] != '\0';
}

/* LEAST: the first byte that may be in it; '\t' may, where blanks may. */
static bool has_control(const char *text, unsigned char least)
{
    for (const unsigned char *c = (const unsigned char *)text; *c != '\0'; c++) {
        if ((*c < least && !(*c == '\t' && least <= ' ')) || *c == 0x7f)
            return true;
    }
    return false;
}

void framing_take(struct framing *f, const char *name, const char *value)
{
    const char *text = value != NULL ? value : "";
    f->bytes += strlen(name) + strlen(text) + 4;
    if (!is_token(name))
        f->wrong = "the name of a header holds a blank, or what no name may";
    else if (has_control(text, ' '))
        f->wrong = "a header holds a control character";
    if (strcasecmp(name, "Content-Length") == 0) {
        f->lengths++;
        if (text[0] == '\0' || strspn(text, "0123456789") != strlen(text))
            f->wrong = "Content-Length must be a number";
    } else if (strcasecmp(name, "Transfer-Encoding") == 0) {
        f->encodings++;
        if (strcasecmp(text, "chunked") != 0)
            f->wrong = "of transfer encodings only chunked is known";
    } else if (strcasecmp(name, "Host") == 0) {
        f->hosts++;
    }
}

const char *framing_wrong(const struct framing *f, const char *uri, bool http_1_0)
{
    if (f->wrong != NULL)
        return f->wrong;
    if (has_control(uri, '!'))
        return "the URI holds a control character";
    if (f->lengths > 1 || f->encodings > 1)
        return "the request says more than once how long it is";
    if (f->encodings > 0 && (f->lengths > 0 || http_1_0))
        return "a request with Transfer-Encoding has no Content-Length, and is of HTTP/1.1";
    if (f->hosts > 1)
        return "the request names more than one host";
    return NULL;
}
