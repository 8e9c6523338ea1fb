/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glance/: what Glance's own image cache takes for its folder (image_cache_dir). It finds an image there by its id and reads it, which is all
 * that it needs of a cache; what it keeps for itself beside them (its index, locks, downloads of its own) are scratch files. An image is never
 * made of one: its bytes come from the backend, and are verified.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/id.h"
#include "view/private.h"

/* What its drivers ask for with each of their steps, and the backend has not: the index with what SQLite puts beside it, a lock, a trial. */
bool glance_is_own_name(const struct view *v, const char *name)
{
    static const char *const names[] = {"checkme", "image_cache_db_init"};
    size_t index = v->glance_index == NULL ? 0 : strlen(v->glance_index);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0)
            return true;
    }
    return !image_id_valid(name) || (index > 0 && strncmp(name, v->glance_index, index) == 0 && (name[index] == '\0' || name[index] == '-'));
}

int glance_find(const struct view *v, const struct view_room *room, const char *name, struct view_entry *ret)
{
    struct scratch_file file;
    int r = v->scratch == NULL ? -ENOENT : scratch_find(v->scratch, room->place, name, &file);
    if (r == 0)
        view_scratch_entry(v, &file, ret);
    return r;
}

static bool is_image(const struct view *v, const char *name)
{
    struct image_row row;
    return image_id_valid(name) && catalogue_find(v->catalogue, name, &row) == 0;
}

int glance_create(const struct view *v, const struct view_room *room, const char *name, struct view_entry *ret)
{
    struct scratch_file file;
    if (v->scratch == NULL)
        return -EROFS;
    if (room->content == CONTENT_GLANCE && is_image(v, name))
        return -EEXIST;
    int r = scratch_create(v->scratch, room->place, name, &file);
    if (r == 0)
        view_scratch_entry(v, &file, ret);
    return r;
}

int glance_unlink(const struct view *v, const struct view_room *room, const char *name, struct waiter *w)
{
    int r = v->scratch == NULL ? -ENOENT : scratch_remove(v->scratch, room->place, name);
    return r == -ENOENT && room->content == CONTENT_GLANCE && image_id_valid(name) ? engine_discard(v->engine, name, w) : r;
}

int glance_rename(const struct view *v, const struct view_room *from, const char *name, const struct view_room *to, const char *new_name)
{
    if (v->scratch == NULL)
        return -ENOENT;
    /* Glance has downloaded an image by itself, which the backend did not have or could not give then. */
    if (to->content == CONTENT_GLANCE && is_image(v, new_name))
        return scratch_remove(v->scratch, from->place, name);
    if (to->content == CONTENT_GLANCE && from->content != CONTENT_GLANCE && !glance_is_own_name(v, new_name))
        return -EPERM;
    return scratch_move(v->scratch, from->place, name, to->place, new_name);
}

/* ---- listing: in the order of the numbers, so that it goes on where it was */

struct found {
    struct scratch_file file;
    char name[IMAGE_ID_MAX + 1];
};

struct finds {
    struct found *files;
    size_t count;
    uint64_t after;
};

static bool gather(void *context, const char *name, const struct scratch_file *file)
{
    struct finds *f = context;
    if (file->number > f->after && strlen(name) <= IMAGE_ID_MAX) {
        f->files[f->count].file = *file;
        memcpy(f->files[f->count++].name, name, strlen(name) + 1);
    }
    return f->count < SCRATCH_FILES_MAX;
}

static int by_number(const void *a, const void *b)
{
    const struct found *left = a, *right = b;
    return (left->file.number > right->file.number) - (left->file.number < right->file.number);
}

int glance_list(const struct view *v, const struct view_room *room, uint64_t base, uint64_t cookie, view_emit_fn *emit, void *context, bool *ret_more)
{
    struct finds f = {.after = cookie > base ? cookie - base : 0};
    *ret_more = true;
    if (v->scratch == NULL)
        return 0;
    f.files = malloc(SCRATCH_FILES_MAX * sizeof(*f.files));
    int r = f.files == NULL ? -ENOMEM : scratch_each(v->scratch, room->place, gather, &f);
    if (r == 0)
        qsort(f.files, f.count, sizeof(*f.files), by_number);
    for (size_t i = 0; r == 0 && *ret_more && i < f.count; i++) {
        struct view_entry entry;
        view_scratch_entry(v, &f.files[i].file, &entry);
        *ret_more = emit(context, f.files[i].name, &entry, base + f.files[i].file.number);
    }
    free(f.files);
    return r;
}
