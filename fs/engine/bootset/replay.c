/* SPDX-License-Identifier: Apache-2.0 */
/* The way through a boot set; arithmetic only. */
#include "config-auto.h"

#include "engine/bootset/replay.h"

#include <stdlib.h>

void replay_begin(struct replay *r, const struct bootset *set)
{
    r->set = *set;
    r->taken = r->at = r->count = 0;
}

static int by_place(const void *left, const void *right)
{
    const struct bootspan *a = left, *b = right;
    return (a->first > b->first) - (a->first < b->first);
}

static void make_list(struct replay *r, uint64_t window, uint64_t gap)
{
    uint64_t bytes = 0;
    size_t n = 0, count = 0;
    while (r->taken < r->set.count && (count == 0 || bytes < window)) {
        const struct bootspan *s = &r->set.span[r->taken++];
        r->list[count++] = *s;
        bytes += s->end - s->first;
    }
    qsort(r->list, count, sizeof(r->list[0]), by_place);
    for (size_t i = 0; i < count; i++) {
        if (n > 0 && r->list[i].first - r->list[n - 1].end <= gap)
            r->list[n - 1].end = r->list[i].end;
        else
            r->list[n++] = r->list[i];
    }
    r->at = 0;
    r->count = n;
}

bool replay_next(struct replay *r, uint64_t window, uint64_t gap, struct bootspan *ret)
{
    if (r->at == r->count)
        make_list(r, window, gap);
    if (r->at == r->count)
        return false;
    *ret = r->list[r->at];
    return true;
}

void replay_pass(struct replay *r, uint64_t end)
{
    struct bootspan *s = &r->list[r->at];
    if (end < s->end)
        s->first = end > s->first ? end : s->first;
    else
        r->at++;
}
