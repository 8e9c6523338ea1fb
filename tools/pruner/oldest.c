/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap with the newest on top, which is dropped as long as the others are enough without it. */
#include "config-auto.h"

#include "pruner/oldest.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void oldest_begin(struct oldest *o, uint64_t wanted, size_t max)
{
    *o = (struct oldest){.wanted = wanted, .max = max};
}

void oldest_end(struct oldest *o)
{
    for (size_t i = 0; i < o->count; i++)
        free(o->heap[i].name);
    free(o->heap);
    *o = (struct oldest){.heap = NULL};
}

static bool newer(const struct candidate *a, const struct candidate *b)
{
    return a->accessed != b->accessed ? a->accessed > b->accessed : a->inode > b->inode;
}

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate c = *a;
    *a = *b;
    *b = c;
}

static void rise(struct oldest *o, size_t i)
{
    for (; i > 0 && newer(&o->heap[i], &o->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(&o->heap[i], &o->heap[(i - 1) / 2]);
}

static void sink(struct oldest *o)
{
    size_t i = 0;
    for (;;) {
        size_t top = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < o->count; child++)
            top = newer(&o->heap[child], &o->heap[top]) ? child : top;
        if (top == i)
            return;
        swap(&o->heap[i], &o->heap[top]);
        i = top;
    }
}

static void drop_newest(struct oldest *o)
{
    o->bytes -= o->heap[0].bytes;
    free(o->heap[0].name);
    o->heap[0] = o->heap[--o->count];
    sink(o);
}

/* Are the others enough? One without bytes makes no room and is kept only as long as there is room to be made. */
static bool newest_is_needless(const struct oldest *o)
{
    return o->count > 0 && (o->count > o->max || o->bytes - o->heap[0].bytes >= o->wanted);
}

int oldest_add(struct oldest *o, const char *name, int64_t accessed, uint64_t inode, uint64_t bytes)
{
    struct candidate c = {.accessed = accessed, .inode = inode, .bytes = bytes};
    if (o->bytes >= o->wanted && (o->count == 0 || newer(&c, &o->heap[0])))
        return 0;
    if (o->count == o->room) {
        size_t room = o->room == 0 ? 256 : o->room * 2;
        struct candidate *heap = reallocarray(o->heap, room, sizeof(*heap));
        if (heap == NULL)
            return -ENOMEM;
        o->heap = heap;
        o->room = room;
    }
    if ((c.name = strdup(name)) == NULL)
        return -ENOMEM;
    o->heap[o->count++] = c;
    o->bytes += bytes;
    rise(o, o->count - 1);
    while (newest_is_needless(o))
        drop_newest(o);
    return 0;
}

static int compare(const void *a, const void *b)
{
    return newer(a, b) ? 1 : newer(b, a) ? -1 : 0;
}

void oldest_sort(struct oldest *o)
{
    if (o->count > 1)
        qsort(o->heap, o->count, sizeof(*o->heap), compare);
}
