/* SPDX-License-Identifier: Apache-2.0 */
/* Listing, clearing, pruning and cleaning through the view. No state: what is done is done by the file system, one image at a time. */
#include "config-auto.h"

#include "manage.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "json_text.h"
#include "log.h"
#include "names.h"

/* ---- listings, written as they are read: there may be very many */

struct writer {
    const char *mount;
    FILE *out;
    bool more;
};

static bool write_cached(void *context, const char *name)
{
    struct writer *w = context;
    struct facts f;
    if (mount_facts(w->mount, FOLDER_CACHED, name, FACT_HITS, &f) < 0) /* evicted meanwhile */
        return true;
    json_t *entry = json_pack("{s:o, s:I, s:f, s:f, s:I}", "image_id", json_text(name), "hits", (json_int_t)f.hits, "last_accessed",
                              f.accessed, "last_modified", f.modified, "size", (json_int_t)f.size);
    if (entry == NULL)
        return false;
    fputs(w->more ? ", " : "", w->out);
    json_dumpf(entry, w->out, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(17));
    json_decref(entry);
    w->more = true;
    return true;
}

static bool write_name(void *context, const char *name)
{
    struct writer *w = context;
    json_t *text = json_text(name);
    fputs(w->more ? ", " : "", w->out);
    json_dumpf(text, w->out, JSON_ENCODE_ANY);
    json_decref(text);
    w->more = true;
    return true;
}

static int write_array(const char *mount, enum mount_folder folder, mount_each_fn *each, FILE *out)
{
    struct writer w = {.mount = mount, .out = out};
    fputc('[', out);
    int r = mount_each(mount, folder, each, &w);
    fputc(']', out);
    return r;
}

int manage_write_cached(const char *mount, FILE *out)
{
    return write_array(mount, FOLDER_CACHED, write_cached, out);
}

int manage_write_queued(const char *mount, FILE *out)
{
    return write_array(mount, FOLDER_QUEUED, write_name, out);
}

/* ---- clearing */

int manage_clear(const char *mount, enum mount_folder folder, uint64_t *ret_removed)
{
    struct names names;
    uint64_t removed = 0;
    int r = names_read(mount, folder, &names);
    for (size_t i = 0; i < names.count; i++) {
        int error = mount_remove(mount, folder, names.list[i]);
        if (error == 0)
            removed++;
        else if (error != -ENOENT && r == 0)
            r = error;
    }
    names_free(&names);
    *ret_removed = removed;
    return r;
}

/* ---- pruning */

struct candidate {
    const char *name;
    double accessed;
    uint64_t size;
};

static int by_age(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return (x->accessed > y->accessed) - (x->accessed < y->accessed);
}

/* The unpinned ones, and the sum of all. */
static size_t collect(const char *mount, const struct names *names, struct candidate *ret, uint64_t *ret_sum)
{
    size_t count = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < names->count; i++) {
        struct facts f;
        if (mount_facts(mount, FOLDER_CACHED, names->list[i], FACT_PINNED, &f) < 0)
            continue;
        sum += f.size;
        if (!f.pinned)
            ret[count++] = (struct candidate){.name = names->list[i], .accessed = f.accessed, .size = f.size};
    }
    *ret_sum = sum;
    return count;
}

int manage_prune(const char *mount, uint64_t max_size, struct pruned *ret)
{
    struct names names;
    uint64_t sum;
    *ret = (struct pruned){0};
    int r = names_read(mount, FOLDER_CACHED, &names);
    struct candidate *list = r == 0 ? calloc(names.count + 1, sizeof(*list)) : NULL;
    if (r == 0 && list == NULL)
        r = -ENOMEM;
    if (r == 0) {
        size_t count = collect(mount, &names, list, &sum);
        qsort(list, count, sizeof(*list), by_age);
        for (size_t i = 0; i < count && sum > max_size; i++) {
            int error = mount_remove(mount, FOLDER_CACHED, list[i].name);
            if (error == 0) {
                ret->images++;
                ret->bytes += list[i].size;
            } else if (error != -ENOENT) {
                log_warning("prune: cannot evict %s: %s; going on with the next", list[i].name, error_text(error));
                continue;
            }
            sum -= list[i].size;
        }
    }
    free(list);
    names_free(&names);
    return r;
}

/* ---- cleaning */

int manage_clean(const char *mount, uint64_t stall_time)
{
    struct names names;
    uint64_t removed;
    double now = (double)time(NULL);
    int r = manage_clear(mount, FOLDER_INVALID, &removed);
    int error = names_read(mount, FOLDER_INCOMPLETE, &names);
    for (size_t i = 0; i < names.count; i++) {
        struct facts f;
        if (mount_facts(mount, FOLDER_INCOMPLETE, names.list[i], FACT_OPEN, &f) < 0 || f.open > 0)
            continue;
        if (now - f.modified <= (double)stall_time)
            continue;
        int e = mount_remove(mount, FOLDER_INCOMPLETE, names.list[i]);
        if (e < 0 && e != -ENOENT && e != -EBUSY && error == 0)
            error = e;
    }
    names_free(&names);
    return r < 0 ? r : error;
}
