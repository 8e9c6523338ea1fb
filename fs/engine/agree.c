/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the catalogue says and what lies in the cache directory may differ after a kill or a power cut. A row without a file goes back to known.
 * Leftovers of an interrupted eviction or fetch that no row knows are removed. Glance's queue is taken over.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/agree.h"
#include "engine/evict/claim.h"
#include "engine/evict/remove.h"
#include "engine/images/images.h"
#include "engine/images/load.h"
#include "engine/images/retired.h"

enum { PAGE = 64, AGAIN_S = 2 };

/* ---- rows without files */

static void check_complete_row(struct engine *e, const struct image_row *row)
{
    int r = retired_check_place(e, STORE_COMPLETE, row);
    if (r == -ENOENT) {
        log_warning("%s: its file is gone from the cache directory; it will be fetched again", row->name);
        catalogue_reset_file(e->catalogue, row);
    } else if (r == -EBADMSG) {
        evict_quarantine(e, row->name, "the size of its file in the cache directory is wrong");
    } else if (r == -ESTALE) { /* another version's: looked at as any file without a row */
        catalogue_reset_file(e->catalogue, row);
    }
}

static void check_partial_row(struct engine *e, const struct image_row *row)
{
    struct image *image;
    int r = retired_check_place(e, STORE_PARTIAL, row);
    if (r == -ENOENT) {
        /* Published, but killed before the commit: adopted like any file without a row. */
        catalogue_reset_file(e->catalogue, row);
    } else if ((r == -EBADMSG || r == -ESTALE || row->bytes == row->meta.size) && image_load(e, row->row, &image) == 0) {
        image_changed(image); /* all of it is here: verify and publish */
        image_put(image);
    }
}

/* Its file may not be that of who is published meanwhile. */
static void settle_retired_row(struct engine *e, const struct image_row *row)
{
    struct name_claim claim;
    claim_name(e->names, &claim, row->name);
    if (retired_is_left_behind(e, row))
        store_retire(e->store, STORE_COMPLETE, row->name, row->row);
    claim_end(e->names, &claim);
    retired_reap(e, row->row);
}

static void each_row(struct engine *e, enum catalogue_view view, void (*fn)(struct engine *, const struct image_row *))
{
    struct image_row *rows = malloc(PAGE * sizeof(*rows));
    int64_t after = 0;
    int n;
    while (rows != NULL && !atomic_load(&e->stopping) && (n = catalogue_page(e->catalogue, view, after, rows, PAGE)) > 0) {
        for (int i = 0; i < n && !atomic_load(&e->stopping); i++)
            fn(e, &rows[i]);
        after = rows[n - 1].place;
    }
    free(rows);
}

/* ---- files without rows */

/* A file in incomplete/ that no row seems to have. */
struct leftover {
    struct engine *engine;
    char name[IMAGE_ID_MAX + 1];
};

/* On the rows thread, where no fetch begins meanwhile. */
static void remove_leftover(void *context)
{
    struct leftover *leftover = context;
    evict_leftover(leftover->engine, leftover->name);
    free(leftover);
}

static int check_partial_file(void *context, const char *name, const struct store_file *file)
{
    struct engine *e = context;
    struct image_row row;
    (void)file;
    int r = catalogue_find(e->catalogue, name, &row);
    struct leftover *leftover = r == -ENOENT || (r == 0 && row.state != IMAGE_PARTIAL) ? calloc(1, sizeof(*leftover)) : NULL;
    if (leftover != NULL) {
        leftover->engine = e;
        snprintf(leftover->name, sizeof(leftover->name), "%s", name);
        tasks_add(e->rows, remove_leftover, leftover);
    }
    return atomic_load(&e->stopping);
}

static int check_retired_file(void *context, int64_t row)
{
    struct engine *e = context;
    struct image_row r;
    int error = catalogue_get(e->catalogue, row, &r);
    /* The row is retired before its file moves: one that is not has lost that to a power cut, and its number may be another's. */
    if (error == -ENOENT || (error == 0 && r.state != IMAGE_RETIRED))
        store_remove_retired(e->store, row);
    return atomic_load(&e->stopping);
}

static int check_invalid_file(void *context, const char *name, const struct store_file *file)
{
    struct engine *e = context;
    struct invalid_row row;
    if (catalogue_invalid_find(e->catalogue, name, &row) == -ENOENT)
        catalogue_invalid_put(e->catalogue, name, "found in invalid/", file->size, file->modified);
    return atomic_load(&e->stopping);
}

static int take_queue_file(void *context, const char *name, const struct store_file *file)
{
    struct engine *e = context;
    struct image_row row;
    struct queue_row queued;
    bool cached = catalogue_find(e->catalogue, name, &row) == 0 && row.state == IMAGE_COMPLETE;
    int r = cached ? 0 : catalogue_queue_add(e->catalogue, name, file->modified, &queued);
    if (r == 0)
        store_remove(e->store, STORE_QUEUE, name);
    return atomic_load(&e->stopping);
}

void agree_retired(struct engine *e)
{
    each_row(e, CATALOGUE_RETIRED, settle_retired_row);
}

void agree_all(struct engine *e)
{
    store_scan_retired(e->store, check_retired_file, e);
    each_row(e, CATALOGUE_INCOMPLETE, check_partial_row);
    store_scan(e->store, STORE_PARTIAL, check_partial_file, e);
    each_row(e, CATALOGUE_CACHED, check_complete_row);
    store_scan(e->store, STORE_INVALID, check_invalid_file, e);
    store_scan(e->store, STORE_QUEUE, take_queue_file, e);
}

void agree_tick(struct engine *e)
{
    int64_t now = clock_monotonic();
    if (now < e->agree_at || !store_left_files(e->store))
        return;
    e->agree_at = now + AGAIN_S * NS_PER_S;
    store_scan_retired(e->store, check_retired_file, e);
    each_row(e, CATALOGUE_RETIRED, settle_retired_row);
    store_scan(e->store, STORE_PARTIAL, check_partial_file, e);
    store_scan(e->store, STORE_INVALID, check_invalid_file, e);
}
