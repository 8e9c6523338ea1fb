/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hits and access times that are not in the catalogue yet: never one write a read. Written in one transaction every second or two; a worker
 * that is killed loses that much. The lock is a leaf.
 */
#include "config-auto.h"

#include <pthread.h>
#include <stdlib.h>
#include <uthash.h>

#include "base/log.h"
#include "catalogue/touches.h"

struct touch {
    struct catalogue_touch t;
    UT_hash_handle hh;
};

struct touches {
    pthread_mutex_t lock;
    struct touch *table; /* protected by lock */
};

struct touches *touches_new(void)
{
    struct touches *t = calloc(1, sizeof(*t));
    if (t != NULL)
        pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void free_table(struct touch *table)
{
    struct touch *touch, *next;
    HASH_ITER(hh, table, touch, next) {
        HASH_DEL(table, touch);
        free(touch);
    }
}

void touches_free(struct touches *t)
{
    if (t == NULL)
        return;
    free_table(t->table);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void touches_add(struct touches *t, int64_t row, uint64_t hits, int64_t accessed)
{
    struct touch *touch;
    pthread_mutex_lock(&t->lock);
    HASH_FIND(hh, t->table, &row, sizeof(row), touch);
    if (touch == NULL && (touch = calloc(1, sizeof(*touch))) != NULL) { /* without memory a hit goes uncounted */
        touch->t.row = row;
        HASH_ADD(hh, t->table, t.row, sizeof(touch->t.row), touch);
    }
    if (touch != NULL) {
        touch->t.hits += hits;
        if (accessed > touch->t.accessed)
            touch->t.accessed = accessed;
    }
    pthread_mutex_unlock(&t->lock);
}

static void overlay(struct touch *table, struct image_row *row)
{
    struct touch *touch;
    HASH_FIND(hh, table, &row->row, sizeof(row->row), touch);
    if (touch == NULL)
        return;
    row->hits += touch->t.hits;
    if (touch->t.accessed > row->last_accessed)
        row->last_accessed = touch->t.accessed;
}

void touches_overlay(struct touches *t, struct image_row *row)
{
    pthread_mutex_lock(&t->lock);
    overlay(t->table, row);
    pthread_mutex_unlock(&t->lock);
}

void touches_flush(struct touches *t, struct catalogue *c)
{
    pthread_mutex_lock(&t->lock);
    struct touch *table = t->table;
    t->table = NULL;
    pthread_mutex_unlock(&t->lock);

    size_t n = 0, count = HASH_COUNT(table);
    struct catalogue_touch *list = count ? malloc(count * sizeof(*list)) : NULL;
    if (list != NULL) {
        struct touch *touch, *next;
        HASH_ITER(hh, table, touch, next) {
            list[n++] = touch->t;
        }
        int r = catalogue_touch(c, list, n);
        if (r < 0)
            log_errno(r, "hits and access times of %zu images could not be written and are lost", n);
        free(list);
    }
    free_table(table);
}
