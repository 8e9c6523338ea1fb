/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as values: made, copied and cleared; and percent-encoding. Pure; any thread.
 * Whatever may be a secret (headers, credentials, bodies, urls with userinfo) is wiped before its memory is given back.
 */
#include "config-auto.h"

#include "transfer/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void transfer_wipe_free(char *secret)
{
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}

void transfer_request_drop_body(struct transfer_request *request)
{
    if (request->body) {
        explicit_bzero(request->body, request->body_length);
        free(request->body);
    }
    request->body = NULL;
    request->body_length = 0;
}

void transfer_request_clear(struct transfer_request *request)
{
    transfer_wipe_free(request->url);
    free(request->path);
    for (size_t i = 0; i < request->header_count; i++) {
        transfer_wipe_free(request->headers[i]);
    }
    free(request->headers);
    transfer_wipe_free(request->user_password);
    free(request->aws_sigv4);
    transfer_request_drop_body(request);
    *request = (struct transfer_request){0};
}

/* Appends LINE, which then belongs to the request. */
static int append_header(struct transfer_request *request, char *line)
{
    char **headers = reallocarray(request->headers, request->header_count + 1, sizeof *headers);
    if (!headers) {
        return -ENOMEM;
    }
    request->headers = headers;
    headers[request->header_count++] = line;
    return 0;
}

int transfer_request_header(struct transfer_request *request, const char *name, const char *value)
{
    if (!*name || strpbrk(name, ": \t\r\n") || strpbrk(value, "\r\n")) {
        return -EINVAL;
    }
    char *line;
    if (asprintf(&line, "%s: %s", name, value) < 0) {
        return -ENOMEM;
    }
    int r = append_header(request, line);
    if (r < 0) {
        transfer_wipe_free(line);
    }
    return r;
}

/* *TO = a copy of FROM; NULL is copied to NULL. */
static bool copy_text(const char *from, char **to)
{
    return !from || (*to = strdup(from));
}

int transfer_request_copy(const struct transfer_request *from, struct transfer_request *to)
{
    struct transfer_request copy = {
        .method = from->method,
        .ranged = from->ranged,
        .first = from->first,
        .last = from->last,
        .max_rate = from->max_rate,
        .direct = from->direct,
        .fresh = from->fresh,
        .patience = from->patience,
    };
    bool good = copy_text(from->url, &copy.url) && copy_text(from->path, &copy.path) &&
                copy_text(from->user_password, &copy.user_password) && copy_text(from->aws_sigv4, &copy.aws_sigv4);
    for (size_t i = 0; good && i < from->header_count; i++) {
        char *line = strdup(from->headers[i]);
        good = line && append_header(&copy, line) == 0;
        if (!good) {
            transfer_wipe_free(line);
        }
    }
    if (good && from->body) {
        copy.body = malloc(from->body_length ? from->body_length : 1);
        good = copy.body;
        if (good) {
            memcpy(copy.body, from->body, from->body_length);
            copy.body_length = from->body_length;
        }
    }
    if (!good) {
        transfer_request_clear(&copy);
        return -ENOMEM;
    }
    *to = copy;
    return 0;
}

/* The value in LINE when its name is NAME; NULL. */
static const char *header_value(const char *line, const char *name)
{
    size_t length = strlen(name);
    if (strncasecmp(line, name, length) != 0 || line[length] != ':') {
        return NULL;
    }
    return line + length + 1 + strspn(line + length + 1, " \t");
}

const char *transfer_request_find(const struct transfer_request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        const char *value = header_value(request->headers[i], name);
        if (value) {
            return value;
        }
    }
    return NULL;
}

const char *transfer_method(const struct transfer_request *request)
{
    return request->method ? request->method : "GET";
}

void transfer_request_strip(struct transfer_request *request)
{
    /* A list of what may go along, not of what may not: nobody can list all headers that carry secrets. */
    static const char *const harmless[] = {"Accept",        "Cache-Control", "If-Match",            "If-Modified-Since",
                                           "If-None-Match", "If-Range",      "If-Unmodified-Since", "Range"};
    size_t kept = 0;
    for (size_t i = 0; i < request->header_count; i++) {
        bool keep = false;
        for (size_t j = 0; j < sizeof harmless / sizeof *harmless; j++) {
            keep = keep || header_value(request->headers[i], harmless[j]);
        }
        if (keep) {
            request->headers[kept++] = request->headers[i];
        } else {
            transfer_wipe_free(request->headers[i]);
        }
    }
    request->header_count = kept;
    transfer_wipe_free(request->user_password);
    request->user_password = NULL;
    free(request->aws_sigv4);
    request->aws_sigv4 = NULL;
}

/* ---- percent-encoding (RFC 3986, section 2) */

static bool unreserved(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("-._~", c));
}

char *transfer_escape(const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t length = strlen(text);
    /* "." and ".." would be taken for steps of the path, by libcurl, by proxies or by the server. */
    bool dots = strspn(text, ".") == length;
    char *escaped = length < SIZE_MAX / 3 ? malloc(3 * length + 1) : NULL;
    if (!escaped) {
        return NULL;
    }
    char *to = escaped;
    for (const char *from = text; *from; from++) {
        unsigned char c = (unsigned char)*from;
        if (unreserved(c) && !dots) {
            *to++ = *from;
        } else {
            *to++ = '%';
            *to++ = hex[c >> 4];
            *to++ = hex[c & 15];
        }
    }
    *to = '\0';
    return escaped;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that the "%XX" at TEXT stands for; -1: not an escape. */
static int escaped_byte(const char *text)
{
    if (text[0] != '%' || hex_digit(text[1]) < 0 || hex_digit(text[2]) < 0) {
        return -1;
    }
    return hex_digit(text[1]) << 4 | hex_digit(text[2]);
}

int transfer_unescape(char *text)
{
    if (strstr(text, "%00")) {
        return -EINVAL;
    }
    char *to = text;
    for (const char *from = text; *from;) {
        int byte = escaped_byte(from);
        if (byte >= 0) {
            *to++ = (char)byte;
            from += 3;
        } else {
            *to++ = *from++;
        }
    }
    *to = '\0';
    return (int)(to - text);
}
