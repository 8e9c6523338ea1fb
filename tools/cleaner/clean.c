/* SPDX-License-Identifier: Apache-2.0 */
/* Cleaning, through the mount. */
#include "config-auto.h"

#include "cleaner/clean.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "common/folder.h"
#include "common/progress.h"

struct clean {
    const struct tool_run *run;
    int folder;          /* the one that is gone through */
    uint64_t stall_time; /* seconds */
    struct cleaned done;
};

/* ---- telling */

void clean_report(const struct tool_run *run, const char *list, const char *name, const char *reason, uint64_t bytes)
{
    if (run->report == NULL)
        return;
    json_t *item = json_pack("{s:o, s:I}", "image", json_text(name), "bytes", (json_int_t)bytes);
    if (item != NULL && reason != NULL) {
        json_object_set_new(item, "error", json_text(reason));
        json_object_set_new(item, "reason", json_text(reason));
    }
    tool_report(run, list, item);
}

void clean_failed(const struct tool_run *run, const char *name, const char *what, int r)
{
    progress_clear();
    log_error("%s: %s: %s", name, what, error_text(r));
    clean_report(run, "failed", name, error_text(r), 0);
}

static int failed(struct clean *c, const char *name, const char *what, int r)
{
    c->done.failed++;
    clean_failed(c->run, name, what, r);
    return 0;
}

/* ---- invalid/ */

static int clean_invalid(void *context, const char *name)
{
    struct clean *c = context;
    json_t *document = NULL;
    const char *reason = NULL;
    bool told = c->run->verbose || c->run->report != NULL;
    if (told && cache_mount_document(c->run->mount, "invalid", name, &document) == 0)
        reason = json_string_value(json_object_get(document, "reason"));
    int r = c->run->dry_run ? 0 : folder_remove(c->folder, name);
    if (r == 0) {
        c->done.invalid++;
        log_debug("invalid/%s: %s (%s)", name, c->run->dry_run ? "would be removed" : "removed",
                  reason != NULL ? reason : "no reason told");
        clean_report(c->run, "invalid_removed", name, reason, 0);
    } else if (r != -ENOENT) {
        failed(c, name, "it cannot be removed from invalid/", r);
    }
    json_decref(document);
    return 0;
}

/* ---- incomplete/ */

/* When bytes of NAME came last, in nanoseconds since 1970. A mount of an older version tells it as the file's time. */
static int last_progress(const struct clean *c, const char *name, const struct folder_entry *entry, int64_t *ret)
{
    char text[64], fraction[10] = "";
    long long seconds;
    int r = cache_mount_attribute(c->run->mount, "incomplete", name, "last_progress", text, sizeof(text));
    if (r < 0)
        return r == -ESTALE ? -ENOENT : r;
    int n = sscanf(text, "%lld.%9[0-9]", &seconds, fraction);
    *ret = n < 1 || seconds < 0 || seconds > INT64_MAX / NS_PER_S - 1 ? entry->modified : seconds * NS_PER_S + strtoll(fraction, NULL, 10);
    return 0;
}

static bool is_stalled(const struct clean *c, const char *name, bool fresh, struct folder_entry *ret, int *ret_error)
{
    *ret_error = folder_stat(c->folder, name, fresh, ret);
    if (*ret_error == 0)
        *ret_error = last_progress(c, name, ret, &ret->modified);
    int64_t idle = clock_now() - ret->modified;
    return *ret_error == 0 && idle >= 0 && (uint64_t)idle >= c->stall_time * (uint64_t)NS_PER_S;
}

/* Somebody reads it, or that cannot be read: then *RET_ERROR says why. */
static bool may_be_open(const struct clean *c, const char *name, int *ret_error)
{
    char text[32];
    int r = cache_mount_attribute(c->run->mount, "incomplete", name, "open", text, sizeof(text));
    *ret_error = r == -ESTALE ? -ENOENT : r;
    return r < 0 || strtoull(text, NULL, 10) != 0;
}

static int clean_incomplete(void *context, const char *name)
{
    struct clean *c = context;
    struct folder_entry entry = {.inode = 0};
    char idle[QUANTITY_MAX], bytes[QUANTITY_MAX];
    int r;
    if (!is_stalled(c, name, false, &entry, &r) || may_be_open(c, name, &r) || !is_stalled(c, name, true, &entry, &r))
        return r < 0 && r != -ENOENT ? failed(c, name, "it cannot be looked at", r) : 0;
    r = c->run->dry_run ? 0 : folder_remove(c->folder, name);
    if (r == -EBUSY) /* it goes on, or is being verified */
        log_debug("incomplete/%s: stays, it is busy", name);
    else if (r < 0 && r != -ENOENT)
        failed(c, name, "it cannot be removed from incomplete/", r);
    if (r < 0)
        return 0;
    c->done.stalled++;
    c->done.stalled_bytes += entry.blocks;
    log_info("%s: %s: no progress for %s, %s here", name, c->run->dry_run ? "would be given up" : "given up",
             format_seconds((uint64_t)((clock_now() - entry.modified) / NS_PER_S), idle), format_bytes(entry.blocks, bytes));
    clean_report(c->run, "stalled_removed", name, NULL, entry.blocks);
    return 0;
}

static int each(struct clean *c, const char *folder, folder_fn *fn)
{
    int r = cache_mount_folder(c->run->mount, folder, &c->folder);
    if (r < 0)
        return r;
    r = folder_each(c->run->mount, folder, fn, c);
    close(c->folder);
    return r;
}

int clean_run(const struct tool_run *run, uint64_t stall_time, struct cleaned *ret)
{
    struct clean c = {.run = run, .folder = -1, .stall_time = stall_time};
    char bytes[QUANTITY_MAX];
    int r = each(&c, "invalid", clean_invalid);
    if (r == 0)
        r = each(&c, "incomplete", clean_incomplete);
    log_info("%s %" PRIu64 " entries from invalid/ and %" PRIu64 " stalled images (%s) from incomplete/",
             run->dry_run ? "would remove" : "removed", c.done.invalid, c.done.stalled, format_bytes(c.done.stalled_bytes, bytes));
    *ret = c.done;
    return r;
}
