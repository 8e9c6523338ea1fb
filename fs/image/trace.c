/* SPDX-License-Identifier: Apache-2.0 */
/* A boot, recorded: a bit for each chunk that was read, and the spans in the order they came. */
#include "config-auto.h"

#include "image/trace.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"

struct trace {
    struct chunkmap *seen;
    uint64_t limit;
    int64_t began, grown;
    size_t count, room;
    bool full;
    struct bootspan *spans;
};

int trace_new(uint64_t size, uint64_t limit, int64_t now, struct trace **ret)
{
    struct trace *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    int r = chunkmap_new(size, &t->seen);
    if (r < 0) {
        free(t);
        return r;
    }
    t->limit = limit;
    t->began = t->grown = now;
    *ret = t;
    return 0;
}

void trace_free(struct trace *t)
{
    if (t == NULL)
        return;
    chunkmap_free(t->seen);
    free(t->spans);
    free(t);
}

/* Room for one span more. */
static bool grow(struct trace *t)
{
    if (t->count < t->room)
        return true;
    size_t room = t->room == 0 ? 64 : t->room * 2;
    struct bootspan *spans = room > TRACE_SPANS_MAX ? NULL : realloc(t->spans, room * sizeof(*spans));
    if (spans == NULL)
        return false;
    t->spans = spans;
    t->room = room;
    return true;
}

static void add(struct trace *t, uint64_t chunk, uint32_t at)
{
    uint64_t length = chunkmap_chunk_size(t->seen), first = chunk * length;
    struct bootspan *last = t->count > 0 ? &t->spans[t->count - 1] : NULL;
    bool goes_on = last != NULL && last->end == first && last->at == at;
    if (chunkmap_present(t->seen) + length > t->limit || (!goes_on && !grow(t))) {
        t->full = true;
        return;
    }
    chunkmap_set(t->seen, chunk);
    if (goes_on)
        last->end += length;
    else
        t->spans[t->count++] = (struct bootspan){.first = first, .end = first + length, .at = at, .boots = 1};
}

void trace_note(struct trace *t, uint64_t offset, uint64_t length, int64_t now)
{
    uint64_t chunk = chunkmap_chunk_size(t->seen), end = offset + length;
    for (uint64_t c = offset / chunk; c * chunk < end && !t->full; c++) {
        if (chunkmap_test(t->seen, c))
            continue;
        int64_t tenths = (now - t->began) / (NS_PER_S / 10);
        add(t, c, tenths < 0 ? 0 : tenths < BOOTSET_TIME_MAX ? (uint32_t)tenths : BOOTSET_TIME_MAX);
        t->grown = now;
    }
}

bool trace_is_full(const struct trace *t)
{
    return t->full;
}

uint64_t trace_bytes(const struct trace *t)
{
    return chunkmap_present(t->seen);
}

int64_t trace_grown_at(const struct trace *t)
{
    return t->grown;
}

bool trace_has(const struct trace *t, uint64_t offset)
{
    uint64_t chunk = offset / chunkmap_chunk_size(t->seen);
    return chunk < chunkmap_chunks(t->seen) && chunkmap_test(t->seen, chunk);
}

int trace_set(const struct trace *t, struct bootset *ret)
{
    int r = bootset_of(chunkmap_size(t->seen), t->spans, t->count, ret);
    if (r == 0)
        bootset_fit(ret, chunkmap_size(t->seen)); /* a chunk of a large image ends beyond it */
    return r;
}
