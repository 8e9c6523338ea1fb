/* SPDX-License-Identifier: Apache-2.0 */
/* The places where readers are: a few of them, the least recently used one given to a newcomer. */
#include "config-auto.h"

#include "image/cursors.h"

#include <stddef.h>

static struct cursor *find(struct cursors *c, uint64_t offset, uint64_t length)
{
    for (int i = 0; i < CURSORS; i++) {
        struct cursor *p = &c->place[i];
        if (p->used == 0)
            continue;
        uint64_t from = p->next > CURSOR_SLACK ? p->next - CURSOR_SLACK : 0;
        if (from < p->start)
            from = p->start;
        uint64_t to = p->next + (p->window > CURSOR_SLACK ? p->window : CURSOR_SLACK);
        if (offset >= from && offset <= to && offset + length > p->start)
            return p;
    }
    return NULL;
}

static struct cursor *oldest(struct cursors *c)
{
    struct cursor *old = &c->place[0];
    for (int i = 1; i < CURSORS; i++) {
        if (c->place[i].used < old->used)
            old = &c->place[i];
    }
    return old;
}

const struct cursor *cursors_note(struct cursors *c, uint64_t offset, uint64_t length, uint64_t window, uint64_t window_max)
{
    struct cursor *p = find(c, offset, length);
    if (p == NULL) {
        p = oldest(c);
        *p = (struct cursor){.start = offset, .next = offset + length, .behind = offset};
    } else if (offset + length > p->next) {
        /* A jump within the slack is not yet a stream: only a request that touches the last one's end widens the window. */
        if (offset <= p->next) {
            p->window = p->window == 0 ? window : p->window * CURSOR_WIDER;
            if (p->window > window_max)
                p->window = window_max;
        }
        p->next = offset + length;
    }
    p->used = ++c->clock;
    return p;
}

uint64_t cursors_behind(struct cursors *c, const struct cursor *p, uint64_t *ret_offset)
{
    struct cursor *own = &c->place[p - c->place];
    if (own->next < own->behind + CURSOR_KEPT + CURSOR_DROP)
        return 0;
    *ret_offset = own->behind;
    own->behind = (own->next - CURSOR_KEPT) / CURSOR_DROP * CURSOR_DROP;
    return own->behind - *ret_offset;
}

const struct cursor *cursors_latest(const struct cursors *c)
{
    const struct cursor *latest = NULL;
    for (int i = 0; i < CURSORS; i++) {
        const struct cursor *p = &c->place[i];
        if (p->used != 0 && (latest == NULL || p->used > latest->used))
            latest = p;
    }
    return latest;
}
