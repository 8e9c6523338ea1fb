/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges and entity tags, as in RFC 9110, sections 8.8.3, 13.1 and 14. No state. */
#include "config-auto.h"

#include "api/http/range.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *skip_blanks(const char *c)
{
    return c + strspn(c, " \t");
}

/* Digits at *C; false when there are none. A number beyond 2^64 - 1 is as good as that one. */
static bool digits(const char **c, uint64_t *ret)
{
    uint64_t n = 0;
    if (**c < '0' || **c > '9')
        return false;
    for (; **c >= '0' && **c <= '9'; (*c)++) {
        uint64_t digit = (uint64_t)(**c - '0');
        n = n > (UINT64_MAX - digit) / 10 ? UINT64_MAX : n * 10 + digit;
    }
    *ret = n;
    return true;
}

/* One element of the list. False: not well-formed. *ret_fits: whether any byte of it is there. */
static bool element(const char **c, uint64_t size, uint64_t *ret_first, uint64_t *ret_last, bool *ret_fits)
{
    uint64_t first, last = UINT64_MAX;
    if (**c == '-') {
        (*c)++;
        if (!digits(c, &last))
            return false;
        *ret_fits = last > 0 && size > 0;
        *ret_first = last < size ? size - last : 0;
        *ret_last = size - 1;
        return true;
    }
    if (!digits(c, &first) || **c != '-')
        return false;
    (*c)++;
    if (digits(c, &last) && last < first)
        return false;
    *ret_fits = first < size;
    *ret_first = first;
    *ret_last = last < size ? last : size - 1;
    return true;
}

enum range_verdict range_parse(const char *value, uint64_t size, uint64_t *ret_first, uint64_t *ret_last)
{
    unsigned count = 0, fitting = 0;
    uint64_t first = 0, last = 0;
    if (value == NULL || strncasecmp(value, "bytes=", 6) != 0)
        return RANGE_NONE;
    const char *c = value + 6;
    for (;;) {
        uint64_t a, b;
        bool fits;
        c = skip_blanks(c);
        if (*c == ',') { /* empty elements are to be borne */
            c++;
            continue;
        }
        if (*c == '\0')
            break;
        if (!element(&c, size, &a, &b, &fits))
            return RANGE_NONE;
        c = skip_blanks(c);
        if (*c != ',' && *c != '\0')
            return RANGE_NONE;
        count++;
        if (fits && fitting++ == 0) {
            first = a;
            last = b;
        }
    }
    if (count == 0)
        return RANGE_NONE;
    if (fitting == 0)
        return RANGE_UNSATISFIABLE;
    if (count > 1)
        return RANGE_SEVERAL;
    *ret_first = first;
    *ret_last = last;
    return RANGE_ONE;
}

/* ---- entity tags */

bool etag_make(const char *text, char *ret, size_t size)
{
    bool weak = strncmp(text, "W/", 2) == 0;
    const char *start = weak ? text + 2 : text;
    size_t length = strlen(start);
    ret[0] = '\0';
    if (length >= 2 && start[0] == '"' && start[length - 1] == '"') {
        start++;
        length -= 2;
    }
    if (length == 0 || length + 5 > size)
        return false;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)start[i];
        if (c <= 0x20 || c == '"' || c >= 0x7f)
            return false;
    }
    snprintf(ret, size, "%s\"%.*s\"", weak ? "W/" : "", (int)length, start);
    return true;
}

/* The opaque part, with its quotes. */
static const char *opaque(const char *etag)
{
    return strncmp(etag, "W/", 2) == 0 ? etag + 2 : etag;
}

bool etag_listed(const char *value, const char *etag)
{
    const char *c = skip_blanks(value);
    if (c[0] == '*' && *skip_blanks(c + 1) == '\0')
        return true;
    if (etag[0] == '\0')
        return false;
    const char *wanted = opaque(etag);
    while (*c != '\0') {
        c = opaque(c);
        const char *end = *c == '"' ? strchr(c + 1, '"') : NULL;
        if (end == NULL)
            return false;
        size_t length = (size_t)(end + 1 - c);
        if (length == strlen(wanted) && memcmp(c, wanted, length) == 0)
            return true;
        c = end + 1;
        c += strspn(c, " \t,");
    }
    return false;
}

bool etag_same(const char *value, const char *etag)
{
    return etag[0] == '"' && strcmp(value, etag) == 0;
}
