/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a boot set. It may come from anybody: nothing in it is believed but what is checked here. */
#include "config-auto.h"

#include "image/bootset.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define HEAD "bootset 1 "

enum { BLOCKS_MAX_BITS = 46 }; /* of an image of 2^62 bytes */

struct reader {
    const char *at, *end;
    unsigned line;
};

/* A number up to MOST, then the character AFTER. */
static bool take_number(struct reader *in, uint64_t most, char after, uint64_t *ret)
{
    uint64_t n = 0;
    const char *begin = in->at;
    for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++) {
        n = n * 10 + (uint64_t)(*in->at - '0');
        if (n > most)
            return false;
    }
    if (in->at == begin || in->at == in->end || *in->at != after)
        return false;
    in->at++;
    *ret = n;
    return true;
}

/* What is between lines: comments, and the \r of another system's editor is none. */
static void skip_comments(struct reader *in)
{
    in->line++;
    while (in->at < in->end && *in->at == '#') {
        const char *newline = memchr(in->at, '\n', (size_t)(in->end - in->at));
        in->at = newline == NULL ? in->end : newline + 1;
        in->line++;
    }
}

static bool take_head(struct reader *in, struct bootset *set)
{
    uint64_t boots, count;
    skip_comments(in);
    if ((size_t)(in->end - in->at) < strlen(HEAD) || memcmp(in->at, HEAD, strlen(HEAD)) != 0)
        return false;
    in->at += strlen(HEAD);
    if (!take_number(in, UINT64_C(1) << 62, ' ', &set->size) || !take_number(in, UINT32_MAX, ' ', &boots) ||
        !take_number(in, BOOTSET_SPANS_MAX, '\n', &count))
        return false;
    set->boots = boots < BOOTSET_BOOTS_MAX ? (unsigned)boots : BOOTSET_BOOTS_MAX;
    set->count = (size_t)count;
    return true;
}

static bool overlaps(const struct bootset *set, size_t count, const struct bootspan *s)
{
    for (size_t i = 0; i < count; i++) {
        if (s->first < set->span[i].end && set->span[i].first < s->end)
            return true;
    }
    return false;
}

static bool take_span(struct reader *in, const struct bootset *set, size_t count, struct bootspan *ret)
{
    uint64_t first, blocks, at, boots, most = UINT64_C(1) << BLOCKS_MAX_BITS;
    skip_comments(in);
    if (!take_number(in, most, ',', &first) || !take_number(in, most, ',', &blocks) || !take_number(in, UINT32_MAX, ',', &at) ||
        !take_number(in, UINT32_MAX, '\n', &boots) || blocks == 0 || boots == 0)
        return false;
    *ret = (struct bootspan){.first = first * BOOT_BLOCK, .end = (first + blocks) * BOOT_BLOCK};
    ret->at = at < BOOTSET_TIME_MAX ? (uint32_t)at : BOOTSET_TIME_MAX;
    ret->boots = boots < BOOTSET_BOOTS_MAX ? (uint32_t)boots : BOOTSET_BOOTS_MAX;
    bool within = ret->end <= set->size || ret->end - set->size < BOOT_BLOCK; /* the image's last block may be short */
    return within && !overlaps(set, count, ret);
}

int bootset_parse(const char *text, size_t length, struct bootset *ret, unsigned *ret_line)
{
    struct bootset set;
    struct reader in = {.at = text, .end = text + length};
    if (length > BOOTSET_TEXT_MAX)
        return -EFBIG;
    bool good = take_head(&in, &set);
    for (size_t i = 0; good && i < set.count; i++)
        good = take_span(&in, &set, i, &set.span[i]);
    if (good) {
        skip_comments(&in);
        good = in.at == in.end;
    }
    if (!good) {
        *ret_line = in.line;
        return -EBADMSG;
    }
    ret->size = set.size;
    ret->boots = set.boots;
    ret->count = set.count;
    memcpy(ret->span, set.span, set.count * sizeof(set.span[0]));
    return 0;
}

/* The lines of the first COUNT spans; more than BOOTSET_TEXT_MAX: they do not fit. */
static size_t print(const struct bootset *set, size_t count, char text[BOOTSET_TEXT_MAX + 1])
{
    size_t room = BOOTSET_TEXT_MAX + 1;
    size_t n = (size_t)snprintf(text, room, HEAD "%" PRIu64 " %u %zu\n", set->size, set->boots, count);
    for (size_t i = 0; i < count && n < room; i++) {
        const struct bootspan *s = &set->span[i];
        n += (size_t)snprintf(text + n, room - n, "%" PRIu64 ",%" PRIu64 ",%" PRIu32 ",%" PRIu32 "\n", s->first / BOOT_BLOCK,
                              (s->end - s->first) / BOOT_BLOCK, s->at, s->boots);
    }
    return n;
}

size_t bootset_print(const struct bootset *set, char text[BOOTSET_TEXT_MAX + 1])
{
    size_t count = set->count, n = print(set, count, text);
    while (n > BOOTSET_TEXT_MAX) {
        count = count * 7 / 8;
        n = print(set, count, text);
    }
    return n;
}
