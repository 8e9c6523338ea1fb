/* SPDX-License-Identifier: Apache-2.0 */
/* Listing, clearing, pruning and cleaning through the view. No state: what is done is done by the file system, one image at a time. */
#include "config-auto.h"

#include "api/cache/manage.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "api/cache/names.h"
#include "base/json_text.h"
#include "cleaner/clean.h"

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

/* ---- pruning and cleaning: as the programs of these names do */

/* A run of one of them. *HELD is to be closed after it. */
static int begin_run(const char *mount, struct cache_mount *held, struct tool_run *ret)
{
    int root, r = mount_hold(mount, &root);
    if (r < 0)
        return r;
    *held = (struct cache_mount){.path = strdup(mount), .fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    close(root);
    if (held->path == NULL || held->fd < 0) {
        r = held->path == NULL ? -ENOMEM : -errno;
        cache_mount_close(held);
        return r;
    }
    *ret = (struct tool_run){.mount = held};
    return 0;
}

int manage_prune(const char *mount, struct pruned *ret)
{
    struct cache_mount held;
    struct tool_run run;
    struct prune_target to = {.given = false};
    int r = begin_run(mount, &held, &run);
    if (r < 0)
        return r;
    r = prune_run(&run, &to, ret);
    cache_mount_close(&held);
    return r;
}

int manage_clean(const char *mount, uint64_t stall_time)
{
    struct cache_mount held;
    struct tool_run run;
    struct cleaned cleaned;
    int r = begin_run(mount, &held, &run);
    if (r < 0)
        return r;
    r = clean_run(&run, stall_time, &cleaned);
    cache_mount_close(&held);
    return r;
}
