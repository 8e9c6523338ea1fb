/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing what to ask for next; see choose.h. */
#include "config-auto.h"

#include <assert.h>

#include "engine/fetch/choose.h"
#include "store/writer.h"

enum { SEGMENT_LEAST = 2 << 20, WINDOW_LEAST = 256 << 10 }; /* bytes; for less, a request is not worth it */

void choose_around(struct choice *c, uint64_t start, uint64_t pos, uint64_t end, bool demand)
{
    assert(c->busy_count < CHOOSE_BUSY_MAX);
    c->busy[c->busy_count++] = (struct span){start, end};
    c->claimed += end - pos;
    if (demand)
        c->demand++;
    if (!demand || end - pos >= SEGMENT_LEAST)
        c->background++;
}

void choose_lengths(struct choice *c, uint64_t rate, int64_t wait, uint64_t fetched)
{
    uint64_t settled = chunkmap_present(c->map) + c->claimed, size = chunkmap_size(c->map);
    c->rest = settled < size ? size - settled : 0;
    c->segment = plan_segment(rate, wait);
    /* What one connection brings in a second is not worth two; but many a server is quick at first, and what it was is no promise. */
    uint64_t proven = c->rest < 4 * fetched ? c->rest : 4 * fetched;
    if (c->background == 0 && c->rest <= rate && proven > c->segment)
        c->segment = proven;
}

void choose_little(struct choice *c)
{
    uint64_t little = c->reach > WINDOW_LEAST ? c->reach : WINDOW_LEAST;
    if (c->reach > 0 && c->segment > little)
        c->segment = little;
}

static bool gap(const struct choice *c, uint64_t from, uint64_t to, uint64_t max, struct span *ret)
{
    return plan_gap(c->map, c->busy, c->busy_count, from, to, max, ret);
}

/* The cursor that a read at OFFSET belongs to. */
static const struct cursor *cursor_at(const struct choice *c, uint64_t offset)
{
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &c->cursors->place[i];
        if (p->used != 0 && p->window > 0 && offset >= p->start && offset < p->next)
            return p;
    }
    return NULL;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

uint64_t choose_window(const struct choice *c, const struct cursor *p)
{
    uint64_t window = c->told ? 0 : c->through ? least(p->window, THROUGH_AHEAD) : p->window;
    if (c->worth > 0)
        window = least(window, most(2 * c->worth, WINDOW_LEAST));
    if (c->worth > 0 && p->start > 0)
        window = least(window, most(2 * (p->next - p->start), c->worth));
    if (c->unread_most > 0)
        window = least(window, c->unread < c->unread_most ? c->unread_most - c->unread : 0);
    return window;
}

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x100000001b3);
    *hash ^= *hash >> 29;
}

/*
 * Whether somebody waits for bytes that nobody asked for depends on this alone: who waits, what is here, what is asked for. Thousands may wait, and
 * it is asked with each request of any image that ends. 0: not to be relied on, as what goes straight through leaves again.
 */
static uint64_t outlook_of(const struct choice *c)
{
    uint64_t hash = c->parked + 1;
    mix(&hash, (uintptr_t)c->map);
    mix(&hash, chunkmap_present(c->map));
    for (size_t i = 0; i < c->busy_count; i++) {
        mix(&hash, c->busy[i].first);
        mix(&hash, c->busy[i].end);
    }
    return c->through ? 0 : hash;
}

bool choose_is_jump(const struct choice *c, uint64_t offset)
{
    return cursor_at(c, offset) == NULL;
}

bool choose_demand(const struct choice *c, uint64_t *outlook, struct span *ret)
{
    if (c->demand >= DEMAND_PER_IMAGE)
        return false;
    const struct waiter *w;
    uint64_t now = outlook_of(c);
    if (now != 0 && now == *outlook)
        return false;
    TAILQ_FOREACH(w, c->waiters, link) {
        uint64_t end = w->offset + w->length, to = end;
        if (!gap(c, w->offset, end, UINT64_MAX / 2, ret))
            continue;
        const struct cursor *p = cursor_at(c, w->offset);
        if (p != NULL && p->next + choose_window(c, p) > to)
            to = p->next + choose_window(c, p);
        if (p != NULL && c->whole && ret->first + c->segment > to)
            to = ret->first + c->segment;
        return gap(c, ret->first, to, to - ret->first, ret);
    }
    *outlook = now;
    return false;
}

bool choose_ahead(const struct choice *c, unsigned streams, struct span *ret)
{
    if (c->whole || c->background >= streams)
        return false;
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &c->cursors->place[i];
        uint64_t ahead = choose_window(c, p);
        if (p->used != 0 && ahead > 0 && gap(c, p->next, p->next + ahead, ahead, ret) && ret->first <= p->next + ahead / 2)
            return true;
    }
    return false;
}

/* The nearer the end, the shorter, so that all of them end together and the digest has little left to follow then. */
static uint64_t whole_segment(const struct choice *c, unsigned lanes)
{
    uint64_t share = c->rest / lanes;
    uint64_t least = c->segment / 8 > SEGMENT_LEAST ? c->segment / 8 : SEGMENT_LEAST;
    return share < least ? least : share > c->segment ? c->segment : share;
}

bool choose_whole(const struct choice *c, unsigned lanes, struct span *ret)
{
    if (!c->whole || c->background >= lanes)
        return false;
    const struct cursor *p = cursors_latest(c->cursors);
    uint64_t place = p ? p->next : 0, segment = whole_segment(c, lanes);
    if (!gap(c, place, chunkmap_size(c->map), segment, ret) && !gap(c, 0, place, segment, ret))
        return false;
    if (ret->end < chunkmap_size(c->map) && ret->end - ret->first > 2 * WRITER_FOLIO) /* the next one starts on a folio */
        ret->end -= ret->end % WRITER_FOLIO;
    return true;
}
