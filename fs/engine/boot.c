/* SPDX-License-Identifier: Apache-2.0 */
/* Boot sets of images that are opened, and as the view shows and takes them; see bootset/boots.h. */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "engine/boot.h"
#include "engine/bootset/boots.h"
#include "engine/engine.h"

void boot_record(struct image *image)
{
    image_lock(image);
    bool whole = image->state == IMAGE_COMPLETE;
    boot_closed(image->boot, false);
    bool begin = boot_is_over(image->boot) && !whole; /* of a boot before: others may have it open, or it is in memory still */
    image_unlock(image);
    struct boot *boot = begin ? boots_begin(image->engine->boots, image->row, image->name, image->meta.size) : NULL;
    if (boot == NULL)
        return;
    boot_closed(boot, false);
    image_lock(image);
    struct boot *before = image->boot; /* or another was faster: then it is the same */
    image->boot = boot;
    image_unlock(image);
    boot_put(before);
}

int engine_bootset_stat(struct engine *e, const char *name, struct store_file *ret)
{
    return store_stat_bootset(e->store, name, ret);
}

int engine_bootset_text(struct engine *e, const char *name, char text[BOOTSET_TEXT_MAX + 1])
{
    struct bootset *set = malloc(sizeof(*set));
    int r = set == NULL ? -ENOMEM : boots_get(e->boots, name, set);
    if (r == 0)
        r = (int)bootset_print(set, text);
    free(set);
    return r;
}

int engine_bootset_put(struct engine *e, const char *name, const char *text, size_t length)
{
    unsigned line = 0;
    int r = boots_put(e->boots, name, text, length, &line);
    if (r == -EBADMSG)
        log_notice("%s: what was written to bootsets/ is no boot set: line %u is none", name, line);
    return r == -EBADMSG ? -EINVAL : r;
}

int engine_bootset_remove(struct engine *e, const char *name)
{
    return boots_remove(e->boots, name);
}

struct bootset_names {
    struct engine *engine;
    int64_t after;
    struct image_row *rows;
    size_t count;
};

static int add_name(void *context, const char *name, const struct store_file *file)
{
    struct bootset_names *n = context;
    struct image_row *row = &n->rows[n->count];
    (void)file;
    if (n->count < STORE_BOOTSETS_MAX && catalogue_find(n->engine->catalogue, name, row) == 0 && row->row > n->after)
        n->count++;
    return 0;
}

static int by_row(const void *left, const void *right)
{
    const struct image_row *a = left, *b = right;
    return (a->row > b->row) - (a->row < b->row);
}

int engine_bootset_page(struct engine *e, int64_t after, struct image_row **ret)
{
    struct bootset_names n = {.engine = e, .after = after, .rows = malloc((STORE_BOOTSETS_MAX + 1) * sizeof(*n.rows))};
    int r = n.rows == NULL ? -ENOMEM : store_scan_bootsets(e->store, add_name, &n);
    if (r < 0) {
        free(n.rows);
        return r;
    }
    qsort(n.rows, n.count, sizeof(*n.rows), by_row);
    *ret = n.rows;
    return (int)n.count;
}
