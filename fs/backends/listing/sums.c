/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents of digests (SHA256SUMS). One line is held at a time; a line that does not fit is skipped to its end.
 * No lock: a parser belongs to one thread.
 */
#include "config-auto.h"

#include "backends/listing/sums.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "image/id.h"

/* The longest line that can matter: a digest, a name of which each byte is escaped, and what stands around them. */
enum { LINE_MAX_LENGTH = DIGEST_HEX_MAX + 2 * IMAGE_ID_MAX + 64 };

struct sums {
    enum digest_algorithm algorithm;
    sums_fn *fn;
    void *context;
    bool signature; /* it has begun: what follows is none of ours */
    bool too_long; /* the line under way did not fit: nothing of it counts */
    size_t length;
    char line[LINE_MAX_LENGTH + 1];
};

int sums_new(enum digest_algorithm algorithm, sums_fn *fn, void *context, struct sums **ret)
{
    struct sums *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->algorithm = algorithm;
    s->fn = fn;
    s->context = context;
    *ret = s;
    return 0;
}

void sums_free(struct sums *s)
{
    free(s);
}

/* Undoes what sha256sum does to a name in a line that begins with a backslash. */
static bool unescape_name(char *name)
{
    char *to = name;
    for (const char *from = name; *from; from++) {
        char c = *from;
        if (c == '\\') {
            c = *++from;
            if (c == 'n')
                c = '\n';
            else if (c == 'r')
                c = '\r';
            else if (c != '\\')
                return false;
        }
        *to++ = c;
    }
    *to = '\0';
    return true;
}

static int tell(struct sums *s, char *name, bool escaped, const struct digest *digest)
{
    if (escaped && !unescape_name(name))
        return 0;
    if (strncmp(name, "./", 2) == 0)
        name += 2;
    return image_id_valid(name) ? s->fn(s->context, name, digest) : 0;
}

/* "SHA256 (<name>) = <hex>": the name ends at the last ") = ", for it may hold one itself. */
static int tagged_line(struct sums *s, char *line, bool escaped)
{
    char *open = strstr(line, " (");
    char *close = NULL;
    for (char *p = open; p && (p = strstr(p, ") = ")); p++)
        close = p;
    if (!close || close < open + 2)
        return 0;
    *open = '\0';
    *close = '\0';
    struct digest digest;
    const char *hex = close + 4;
    enum digest_algorithm algorithm = digest_algorithm_by_name(line);
    if (algorithm == DIGEST_NONE || digest_set(algorithm, hex, strlen(hex), &digest) < 0)
        return 0;
    return tell(s, open + 2, escaped, &digest);
}

/* Of a digest of so many digits, where the file's name does not tell. */
static enum digest_algorithm by_length(size_t digits)
{
    switch (digits) {
    case 32:
        return DIGEST_MD5;
    case 40:
        return DIGEST_SHA1;
    case 64:
        return DIGEST_SHA256;
    case 96:
        return DIGEST_SHA384;
    case 128:
        return DIGEST_SHA512;
    default:
        return DIGEST_NONE;
    }
}

static int whole_line(struct sums *s)
{
    size_t length = s->length;
    if (length > 0 && s->line[length - 1] == '\r')
        length--;
    s->line[length] = '\0';
    if (strlen(s->line) != length) /* a NUL: no text, no line of ours */
        return 0;
    char *line = s->line;
    bool escaped = *line == '\\';
    if (escaped)
        line++;

    if (strncmp(line, "-----BEGIN PGP SIGNATURE", 24) == 0)
        s->signature = true;
    if (s->signature)
        return 0;
    if (strncmp(line, "- ", 2) == 0) /* so a signed text escapes a line that begins with a dash (RFC 9580, section 7.2) */
        line += 2;
    size_t hex = 0;
    while (isxdigit((unsigned char) line[hex]))
        hex++;
    struct digest digest;
    if (line[hex] == ' ' && (line[hex + 1] == ' ' || line[hex + 1] == '*') &&
        digest_set(s->algorithm != DIGEST_NONE ? s->algorithm : by_length(hex), line, hex, &digest) == 0)
        return tell(s, line + hex + 2, escaped, &digest);
    return tagged_line(s, line, escaped);
}

static int end_line(struct sums *s)
{
    int r = s->too_long ? 0 : whole_line(s);
    s->length = 0;
    s->too_long = false;
    return r;
}

int sums_feed(struct sums *s, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        const char *newline = memchr(at, '\n', length);
        size_t part = newline ? (size_t) (newline - at) : length;
        if (part > LINE_MAX_LENGTH - s->length)
            s->too_long = true;
        if (!s->too_long) {
            memcpy(s->line + s->length, at, part);
            s->length += part;
        }
        at += part;
        length -= part;
        if (newline) {
            at++;
            length--;
            int r = end_line(s);
            if (r != 0)
                return r;
        }
    }
    return 0;
}

int sums_end(struct sums *s)
{
    return end_line(s);
}

bool sums_named(char *const *names, const char *name)
{
    static const char *const endings[] = { "", ".gpg", ".asc", ".sign", ".sig" };
    for (; names && *names; names++) {
        size_t length = strlen(*names);
        for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]) && strncmp(name, *names, length) == 0; i++) {
            if (strcmp(name + length, endings[i]) == 0)
                return true;
        }
    }
    return false;
}
