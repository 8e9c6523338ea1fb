/* SPDX-License-Identifier: Apache-2.0 */
/* Boot sets: made of what a boot read, merged over boots, cut. */
#include "config-auto.h"

#include "image/bootset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_RUNS = 4, COPY_RUN = 8 << 20 };

/* ---- in order, and few */

/* How a list is put in order: by SLICE tenths of a second and then by place. What fewer than half of BOOTS read comes last. */
struct order { uint32_t slice; unsigned boots; };

static int compare_u64(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}

static int by_order(const void *left, const void *right, void *context)
{
    const struct bootspan *a = left, *b = right;
    const struct order *o = context;
    int seldom = compare_u64(a->boots * 2 < o->boots, b->boots * 2 < o->boots);
    int time = compare_u64(a->at / o->slice, b->at / o->slice);
    return seldom != 0 ? seldom : time != 0 ? time : compare_u64(a->first, b->first);
}

static int by_place(const void *left, const void *right, void *context)
{
    (void)context;
    return compare_u64(((const struct bootspan *)left)->first, ((const struct bootspan *)right)->first);
}

/* Neighbours in the list that touch become one, and with GAP > 0 those that are so near and are in the order of their places. How many are left. */
static size_t join(struct bootspan *spans, size_t count, uint64_t gap)
{
    size_t n = 0;
    for (size_t i = 0; i < count; i++) {
        struct bootspan *last = n > 0 ? &spans[n - 1] : NULL;
        bool touches = last != NULL && last->end == spans[i].first && last->boots == spans[i].boots;
        bool near = last != NULL && gap > 0 && spans[i].first >= last->end && spans[i].first - last->end <= gap;
        if (!touches && !near) {
            spans[n++] = spans[i];
            continue;
        }
        last->end = spans[i].end;
        last->at = spans[i].at < last->at ? spans[i].at : last->at;
        last->boots = spans[i].boots < last->boots ? spans[i].boots : last->boots;
    }
    return n;
}

/* SPANS, which it changes, as a set: the order as fine as there are lines for, and where the places alone are too many the gaps between them. */
static void pack(struct bootspan *spans, size_t count, struct bootset *ret)
{
    struct order o = {.slice = 1, .boots = ret->boots};
    for (; o.slice <= BOOTSET_TIME_MAX; o.slice *= 2) {
        qsort_r(spans, count, sizeof(*spans), by_order, &o);
        count = join(spans, count, 0);
        if (count <= BOOTSET_SPANS_MAX)
            break;
    }
    for (uint64_t gap = BOOT_BLOCK; count > BOOTSET_SPANS_MAX; gap *= 2) {
        qsort_r(spans, count, sizeof(*spans), by_place, NULL);
        count = join(spans, count, gap);
        o.slice = 1;
        qsort_r(spans, count, sizeof(*spans), by_order, &o);
    }
    memcpy(ret->span, spans, count * sizeof(*spans));
    ret->count = count;
}

int bootset_of(uint64_t size, const struct bootspan *spans, size_t count, struct bootset *ret)
{
    struct bootspan *list = malloc((count + 1) * sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        list[i] = spans[i];
        list[i].boots = 1;
        list[i].at = spans[i].at < BOOTSET_TIME_MAX ? spans[i].at : BOOTSET_TIME_MAX;
    }
    ret->size = size;
    ret->boots = 1;
    pack(list, count, ret);
    free(list);
    return 0;
}

/* ---- merging: chunk by chunk */

struct pieces {
    struct bootspan *list; /* by place */
    size_t count;
};

static int take_apart(const struct bootset *set, struct pieces *ret)
{
    uint64_t chunk = chunk_size_of(set->size), count = 0;
    for (size_t i = 0; i < set->count; i++)
        count += (set->span[i].end - 1) / chunk - set->span[i].first / chunk + 1;
    struct bootspan *list = malloc((size_t)(count + 1) * sizeof(*list));
    if (list == NULL)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        for (uint64_t c = set->span[i].first / chunk; c <= (set->span[i].end - 1) / chunk; c++)
            list[n++] = (struct bootspan){c * chunk, (c + 1) * chunk, set->span[i].at, set->span[i].boots};
    }
    qsort_r(list, n, sizeof(*list), by_place, NULL);
    *ret = (struct pieces){list, n};
    return 0;
}

static uint32_t once_more(uint32_t boots)
{
    return boots < BOOTSET_BOOTS_MAX ? boots + 1 : BOOTSET_BOOTS_MAX;
}

/* Two lists by place as one, in OUT, which has room for both. How many. */
static size_t merge_pieces(const struct pieces *a, const struct pieces *b, const struct chunkmap *replayed, struct bootspan *out)
{
    size_t i = 0, j = 0, n = 0;
    while (i < a->count || j < b->count) {
        const struct bootspan *old = i < a->count ? &a->list[i] : NULL, *new = j < b->count ? &b->list[j] : NULL;
        if (old != NULL && new != NULL && old->first == new->first) {
            out[n++] = (struct bootspan){new->first, new->end, new->at, once_more(old->boots)};
            i++, j++;
        } else if (old == NULL || (new != NULL && new->first < old->first)) {
            out[n++] = *new;
            j++;
        } else {
            bool in_vain = replayed != NULL && chunkmap_covers(replayed, old->first, old->end - old->first);
            uint32_t boots = in_vain ? old->boots / 2 : old->boots;
            if (boots > 0)
                out[n++] = (struct bootspan){old->first, old->end, old->at, boots};
            i++;
        }
        if (n > 1 && out[n - 1].first == out[n - 2].first) /* two spans met in one chunk */
            n--;
    }
    return n;
}

int bootset_merge(const struct bootset *set, const struct bootset *boot, const struct chunkmap *replayed, struct bootset *ret)
{
    struct pieces a = {0}, b = {0};
    struct bootspan *out = NULL;
    if (set->size != boot->size)
        return -EINVAL;
    int r = take_apart(set, &a);
    if (r == 0)
        r = take_apart(boot, &b);
    if (r == 0 && (out = malloc((a.count + b.count + 1) * sizeof(*out))) == NULL)
        r = -ENOMEM;
    if (r == 0) {
        ret->size = boot->size;
        ret->boots = once_more(set->boots);
        pack(out, merge_pieces(&a, &b, replayed, out), ret);
    }
    free(a.list);
    free(b.list);
    free(out);
    return r;
}

/* ---- cutting */

void bootset_fit(struct bootset *set, uint64_t size)
{
    uint64_t end = (size + BOOT_BLOCK - 1) / BOOT_BLOCK * BOOT_BLOCK;
    size_t n = 0;
    for (size_t i = 0; i < set->count; i++) {
        struct bootspan s = set->span[i];
        if (s.first >= end)
            continue;
        s.end = s.end < end ? s.end : end;
        s.boots = set->size == size ? s.boots : 1;
        set->span[n++] = s;
    }
    set->boots = set->size == size || set->boots == 0 ? set->boots : 1;
    set->count = n;
    set->size = size;
}

void bootset_cut(struct bootset *set, uint64_t limit)
{
    uint64_t left = limit / BOOT_BLOCK * BOOT_BLOCK;
    for (size_t i = 0; i < set->count; i++) {
        uint64_t length = set->span[i].end - set->span[i].first;
        if (length > left)
            set->span[i].end = set->span[i].first + left;
        left -= set->span[i].end - set->span[i].first;
        if (left == 0) {
            set->count = set->span[i].end > set->span[i].first ? i + 1 : i;
            return;
        }
    }
}

uint64_t bootset_bytes(const struct bootset *set)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < set->count; i++)
        bytes += set->span[i].end - set->span[i].first;
    return bytes;
}

bool bootset_is_copy(const struct bootset *set)
{
    uint64_t bytes = bootset_bytes(set), runs = 0, end = UINT64_MAX;
    for (size_t i = 0; i < set->count; i++) {
        runs += set->span[i].first != end;
        end = set->span[i].end;
    }
    return runs > 0 && bytes / runs >= COPY_RUN && runs <= COPY_RUNS;
}
