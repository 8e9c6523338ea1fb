/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Headers of an answer: kept in one bounded piece of text, and read into a struct transfer_head.
 * Everything here comes from the network: what makes no sense is as if it were not there. Pure; no lock.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

void transfer_headers_reset(struct transfer_headers *headers)
{
    headers->length = 0;
}

void transfer_headers_clear(struct transfer_headers *headers)
{
    if (headers->text) {
        explicit_bzero(headers->text, headers->size); /* a token may have come in a header */
    }
    free(headers->text);
    *headers = (struct transfer_headers){0};
}

static bool reserve(struct transfer_headers *headers, size_t more)
{
    size_t need = headers->length + more;
    if (need > TRANSFER_HEADERS_MAX) {
        return false;
    }
    if (need > headers->size) {
        size_t size = headers->size ? headers->size : 1024;
        while (size < need) {
            size *= 2;
        }
        char *text = realloc(headers->text, size);
        if (!text) {
            return false;
        }
        headers->text = text;
        headers->size = size;
    }
    return true;
}

static bool blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

void transfer_headers_add(struct transfer_headers *headers, const char *line, size_t length)
{
    const char *colon = memchr(line, ':', length);
    if (!colon || colon == line || memchr(line, '\0', length)) {
        return;
    }
    size_t name = colon - line;
    const char *value = colon + 1, *end = line + length;
    while (value < end && blank(*value)) {
        value++;
    }
    while (end > value && blank(end[-1])) {
        end--;
    }
    size_t rest = end - value;
    /* A carriage return in between is no part of a value and must not become part of a request of ours (RFC 9110, 5.5). */
    if (memchr(line, '\r', end - line)) {
        return;
    }
    if (!reserve(headers, name + rest + 2)) {
        return;
    }
    char *to = headers->text + headers->length;
    memcpy(to, line, name);
    to[name] = '\0';
    memcpy(to + name + 1, value, rest);
    to[name + 1 + rest] = '\0';
    headers->length += name + rest + 2;
}

const char *transfer_headers_get(const struct transfer_headers *headers, const char *name)
{
    const char *found = NULL;
    for (size_t at = 0; at < headers->length;) {
        const char *key = headers->text + at, *value = key + strlen(key) + 1;
        if (strcasecmp(key, name) == 0) {
            found = value;
        }
        at = value + strlen(value) + 1 - headers->text;
    }
    return found;
}

const char *transfer_head_get(const struct transfer_head *head, const char *name)
{
    return transfer_headers_get(&head->transfer->headers, name);
}

int transfer_status_line(const char *line, size_t length)
{
    if (length < 5 || memcmp(line, "HTTP/", 5) != 0) {
        return 0;
    }
    const char *space = memchr(line, ' ', length);
    if (!space || line + length - space < 4 || !isdigit((unsigned char)space[1]) || !isdigit((unsigned char)space[2]) ||
        !isdigit((unsigned char)space[3])) {
        return 0;
    }
    return (space[1] - '0') * 100 + (space[2] - '0') * 10 + (space[3] - '0');
}

/* Reads a number at *TEXT and moves behind it. UINT64_MAX is refused: it says "unknown". */
static bool read_number(const char **text, uint64_t *ret)
{
    const char *at = *text;
    uint64_t number = 0;
    if (!isdigit((unsigned char)*at)) {
        return false;
    }
    for (; isdigit((unsigned char)*at); at++) {
        unsigned digit = (unsigned)(*at - '0');
        if (__builtin_mul_overflow(number, 10u, &number) || __builtin_add_overflow(number, digit, &number)) {
            return false;
        }
    }
    if (number == UINT64_MAX) {
        return false;
    }
    *ret = number;
    *text = at;
    return true;
}

static uint64_t read_length(const struct transfer_headers *headers)
{
    const char *text = transfer_headers_get(headers, "content-length");
    uint64_t length;
    if (!text || transfer_headers_get(headers, "transfer-encoding") || !read_number(&text, &length) || *text) {
        return TRANSFER_LENGTH_UNKNOWN;
    }
    return length;
}

/* "bytes 0-99/1000", "bytes 0-99/" star, "bytes " star "/1000" (RFC 9110, section 14.4) into .first, .last, .total. */
static bool read_range(const char *text, struct transfer_head *head)
{
    if (strncasecmp(text, "bytes", 5) != 0 || !blank(text[5])) {
        return false;
    }
    text += 5 + strspn(text + 5, " \t");
    uint64_t first = 1, last = 0, total = TRANSFER_LENGTH_UNKNOWN;
    bool satisfied = *text != '*';
    if (satisfied) {
        if (!read_number(&text, &first) || *text++ != '-' || !read_number(&text, &last) || first > last) {
            return false;
        }
    } else {
        text++;
    }
    if (*text++ != '/') {
        return false;
    }
    if (satisfied && *text == '*') {
        text++;
    } else if (!read_number(&text, &total) || (satisfied && last >= total)) {
        return false;
    }
    if (*text) {
        return false;
    }
    head->first = first;
    head->last = last;
    head->total = total;
    return true;
}

/* Does the range that was read fit the status and the length? */
static bool range_fits(const struct transfer_head *head)
{
    if (head->status == 416) {
        return head->first > head->last;
    }
    return head->status == 206 && head->first <= head->last &&
           (head->length == TRANSFER_LENGTH_UNKNOWN || head->length - 1 == head->last - head->first);
}

static unsigned read_retry_after(const char *text)
{
    enum { MOST = 3600 };
    const char *at = text;
    uint64_t seconds;
    if (isdigit((unsigned char)*text)) {
        if (!read_number(&at, &seconds) || *at) {
            return 0;
        }
        return seconds < MOST ? (unsigned)seconds : MOST;
    }
    time_t then = curl_getdate(text, NULL), now = time(NULL);
    if (then < 0 || then <= now) {
        return 0;
    }
    return then - now < MOST ? (unsigned)(then - now) : MOST;
}

void transfer_head_fill(struct transfer_head *head, const struct transfer_headers *headers)
{
    struct transfer_head filled = {
        .status = head->status,
        .transfer = head->transfer,
        .length = read_length(headers),
        .total = TRANSFER_LENGTH_UNKNOWN,
    };
    const char *range = transfer_headers_get(headers, "content-range");
    if (range && read_range(range, &filled)) {
        filled.ranged = range_fits(&filled);
    }
    if (!filled.ranged) {
        filled.first = filled.last = 0;
        filled.total = TRANSFER_LENGTH_UNKNOWN;
    }
    const char *retry = transfer_headers_get(headers, "retry-after");
    filled.retry_after = retry ? read_retry_after(retry) : 0;
    *head = filled;
}
