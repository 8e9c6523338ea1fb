/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pruning, through the mount.
 *
 * A pass lists cached/, adds up what is there, and keeps the least recently used that together are enough; then each of them is looked
 * at again, right before it goes: one that is pinned, or was read since it was listed, stays, and one that is open waits for the last
 * pass, which takes open images, too. When those that stay leave too little, another pass looks for more. Two pruners take turns, by a
 * lock on cached/; what somebody else removes meanwhile counts as removed.
 */
#include "config-auto.h"

#include "pruner/prune.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <uthash.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "common/folder.h"
#include "common/progress.h"
#include "pruner/oldest.h"

enum { CANDIDATES_MAX = 100000, BUSY_PAUSE_MS = 100 };

/* An image that is not to be looked at again. */
struct kept {
    char *name;
    uint64_t inode;
    bool open; /* it stays as long as others can go */
    UT_hash_handle hh;
};

struct prune {
    const struct tool_run *run;
    const struct prune_target *to;
    int cached, incomplete; /* folders */
    uint64_t limit, target;
    uint64_t used;       /* at the start: by what is in cached/ and incomplete/; those evicted but open are not for us to free */
    uint64_t lacking;    /* bytes that the file system should have free at the start, and has not */
    uint64_t cached_sum; /* bytes in cached/, as listed last */
    uint64_t incomplete_sum;
    bool settled;        /* used and lacking are right, not guessed */
    uint64_t need;   /* bytes still to be removed */
    uint64_t stayed; /* bytes of those in `kept` */
    bool take_open;
    struct kept *kept;
    struct oldest *oldest;
    uint64_t images, bytes, open_images; /* removed */
    uint64_t pinned, read_again, open, failed;
};

/* ---- looking */

static bool is_kept(const struct prune *p, const char *name, uint64_t inode)
{
    struct kept *k;
    HASH_FIND_STR(p->kept, name, k);
    return k != NULL && k->inode == inode;
}

static int keep(struct prune *p, const struct candidate *c, bool is_open)
{
    struct kept *k;
    HASH_FIND_STR(p->kept, c->name, k);
    if (k == NULL) {
        k = calloc(1, sizeof(*k));
        if (k == NULL || (k->name = strdup(c->name)) == NULL) {
            free(k);
            return -ENOMEM;
        }
        HASH_ADD_KEYPTR(hh, p->kept, k->name, strlen(k->name), k);
    }
    k->inode = c->inode;
    k->open = is_open;
    p->stayed += c->bytes;
    return 0;
}

/* Those that are open only, or all. */
static void forget_kept(struct prune *p, bool all)
{
    struct kept *k, *next;
    HASH_ITER(hh, p->kept, k, next) {
        if (!all && !k->open)
            continue;
        HASH_DEL(p->kept, k);
        free(k->name);
        free(k);
    }
    p->stayed = 0;
}

static int look(void *context, const char *name)
{
    struct prune *p = context;
    struct folder_entry entry;
    int r = folder_stat(p->cached, name, false, &entry);
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return log_errno(r, "%s cannot be looked at", name);
    p->cached_sum += entry.size;
    if (is_kept(p, name, entry.inode))
        return 0;
    r = oldest_add(p->oldest, name, entry.accessed, entry.inode, entry.size);
    return r < 0 ? log_errno(r, "listing the images") : 0;
}

static int look_incomplete(void *context, const char *name)
{
    struct prune *p = context;
    struct folder_entry entry;
    if (folder_stat(p->incomplete, name, false, &entry) == 0)
        p->incomplete_sum += entry.blocks;
    return 0;
}

static uint64_t less(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* What is missing to min_free. */
static uint64_t shortage(const struct config *config, const json_t *status)
{
    uint64_t total = cache_status_number(status, "space", "disk_total");
    uint64_t available = cache_status_number(status, "space", "disk_available");
    uint64_t share = config->min_free;
    uint64_t wanted = share & CONFIG_PERCENT ? (uint64_t)((double)total / 100 * (double)(share & ~CONFIG_PERCENT)) : share;
    return less(wanted, available);
}

/* After a listing of cached/: what is still to be removed. What was evicted a moment ago, or is open, is in what the mount calls used
 * and not in a folder any more: it comes free by itself. */
static void settle(struct prune *p)
{
    uint64_t now = p->cached_sum + p->incomplete_sum;
    if (!p->settled) {
        p->lacking = less(p->lacking, less(p->used, now));
        p->used = now;
        p->settled = true;
    }
    if (p->run->dry_run)
        now = less(now, p->bytes);
    uint64_t over = less(now, p->target), lacking = less(p->lacking, p->bytes);
    p->need = over > lacking ? over : lacking;
}

/* The most that may have to go. */
static int read_use(struct prune *p)
{
    json_t *status;
    int r = cache_mount_status(p->run->mount, &status);
    if (r < 0)
        return r;
    p->used = cache_status_number(status, "space", "used");
    p->limit = p->run->config != NULL ? p->run->config->image_cache_max_size : cache_status_number(status, "space", "limit");
    p->lacking = p->run->config != NULL && !p->to->given ? shortage(p->run->config, status) : 0;
    json_decref(status);
    p->target = !p->to->given ? p->limit : p->to->percent ? (uint64_t)((double)p->limit / 100 * (double)p->to->value) : p->to->value;
    uint64_t over = less(p->used, p->target);
    p->need = over > p->lacking ? over : p->lacking;
    return 0;
}

/* A number that the mount tells of an image. -errno when it cannot be read: that is not a no. */
static int attribute(const struct prune *p, const char *name, const char *key, uint64_t *ret)
{
    char text[32];
    int r = cache_mount_attribute(p->run->mount, "cached", name, key, text, sizeof(text));
    if (r < 0)
        return r == -ESTALE ? -ENOENT : r;
    *ret = strtoull(text, NULL, 10);
    return 0;
}

/* ---- removing */

static void report(const struct prune *p, const struct candidate *c, const char *list, const char *error)
{
    if (p->run->report == NULL)
        return;
    json_t *item = json_pack("{s:o, s:I, s:f}", "image", json_text(c->name), "bytes", (json_int_t)c->bytes, "last_accessed",
                             (double)c->accessed / (double)NS_PER_S);
    if (item != NULL && error != NULL)
        json_object_set_new(item, "error", json_string(error));
    tool_report(p->run, list, item);
}

static void removed(struct prune *p, const struct candidate *c, bool is_open)
{
    char size[QUANTITY_MAX], age[QUANTITY_MAX];
    int64_t idle = clock_now() - c->accessed;
    p->images++;
    p->bytes += c->bytes;
    p->open_images += is_open;
    log_debug("%s: %s, %s, last read %s ago%s", c->name, p->run->dry_run ? "would be removed" : "removed", format_bytes(c->bytes, size),
              format_seconds(idle < 0 ? 0 : (uint64_t)(idle / NS_PER_S), age), is_open ? ", still open" : "");
    report(p, c, "removed", NULL);
}

static void satisfy(struct prune *p, uint64_t bytes)
{
    p->need = less(p->need, bytes);
}

/* Looks at the image again, and removes it unless there is a reason to keep it. -ENOMEM. */
static int consider(struct prune *p, const struct candidate *c)
{
    struct folder_entry now;
    int r = folder_stat(p->cached, c->name, true, &now);
    if (r == 0 && (now.inode != c->inode || now.accessed != c->accessed)) {
        p->read_again++;
        log_debug("%s: stays, it was used just now", c->name);
        return keep(p, c, false);
    }
    uint64_t is_pinned = 0, is_open = 0;
    if (r == 0)
        r = attribute(p, c->name, "pinned", &is_pinned);
    if (r == 0)
        r = attribute(p, c->name, "open", &is_open);
    if (r == 0 && is_pinned != 0) {
        p->pinned++;
        return keep(p, c, false);
    }
    if (r == 0 && is_open != 0 && !p->take_open) {
        p->open++;
        return keep(p, c, true);
    }
    if (r == 0 && !p->run->dry_run)
        r = folder_remove(p->cached, c->name);
    if (r < 0 && r != -ENOENT) {
        p->failed++;
        log_error("%s: stays, it cannot be looked at or removed: %s", c->name, error_text(r));
        report(p, c, "failed", error_text(r));
        return keep(p, c, false);
    }
    satisfy(p, c->bytes);
    if (r == 0)
        removed(p, c, is_open != 0);
    return p->run->dry_run ? keep(p, c, false) : 0;
}

/* As many passes as it takes to find enough that may go. 0, -EINTR, or what failed. */
static int passes(struct prune *p)
{
    int r = 0;
    bool more = true;
    while (r == 0 && more && p->need > 0) {
        struct oldest oldest;
        oldest_begin(&oldest, p->need + p->stayed, CANDIDATES_MAX);
        p->oldest = &oldest;
        p->cached_sum = 0;
        r = folder_each(p->run->mount, "cached", look, p);
        settle(p);
        oldest_sort(&oldest);
        more = oldest.count > 0;
        for (size_t i = 0; r == 0 && i < oldest.count && p->need > 0; i++)
            r = tool_stopping() ? -EINTR : consider(p, &oldest.heap[i]);
        oldest_end(&oldest);
    }
    return r;
}

static int all_passes(struct prune *p)
{
    int r = cache_mount_folder(p->run->mount, "incomplete", &p->incomplete);
    if (r == 0)
        r = folder_each(p->run->mount, "incomplete", look_incomplete, p);
    if (r == 0)
        r = passes(p);
    if (r == 0 && p->need > 0 && p->open > 0) { /* those that are open, after all */
        forget_kept(p, false);
        p->open = 0;
        p->take_open = true;
        r = passes(p);
    }
    return r;
}

/* ---- one run */

/* The kernel keeps this lock by itself; it holds off other pruners only. */
static int take_turn(const struct prune *p)
{
    bool said = false;
    while (flock(p->cached, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return 0; /* no locks here: two pruners then remove the same images */
        if (tool_stopping())
            return -EINTR;
        if (!said)
            log_info("another pruner is at work; waiting for it");
        said = true;
        tool_sleep(BUSY_PAUSE_MS * NS_PER_MS);
    }
    return 0;
}

static void tell(const struct prune *p)
{
    char size[QUANTITY_MAX], used[QUANTITY_MAX], target[QUANTITY_MAX], rest[QUANTITY_MAX];
    const char *limit_or_target = p->to->given ? "the target" : "the limit";
    format_bytes(p->target, target);
    if (p->need == 0 && p->images == 0) {
        log_info("nothing to prune: %s are used, %s is %s", format_bytes(p->used, used), limit_or_target, target);
        return;
    }
    if (p->lacking > 0)
        log_info("%s lack on the file system of the cache directory (min_free)", format_bytes(p->lacking, rest));
    log_info("%s %" PRIu64 " images, %s; %s %s used, %s is %s", p->run->dry_run ? "would remove" : "removed", p->images,
             format_bytes(p->bytes, size), format_bytes(less(p->used, p->bytes), used),
             p->run->dry_run ? "would be" : "are", limit_or_target, target);
    if (p->need > 0)
        log_warning("%s more should go: %" PRIu64 " images are pinned, %" PRIu64 " were read meanwhile, %" PRIu64
                    " could not be removed, and nothing else is in cached/", format_bytes(p->need, rest), p->pinned, p->read_again,
                    p->failed);
}

static void finish_report(const struct prune *p)
{
    json_t *more = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I}}", "limit", (json_int_t)p->limit,
                             "target", (json_int_t)p->target, "used_before", (json_int_t)p->used,
                             "lacking_on_disk", (json_int_t)p->lacking, "images_removed", (json_int_t)p->images,
                             "bytes_removed", (json_int_t)p->bytes, "open_removed", (json_int_t)p->open_images,
                             "bytes_over", (json_int_t)p->need, "kept", "pinned", (json_int_t)p->pinned,
                             "read_again", (json_int_t)p->read_again, "failed", (json_int_t)p->failed);
    if (p->run->report != NULL)
        json_object_update(p->run->report, more);
    json_decref(more);
}

int prune_run(const struct tool_run *run, const struct prune_target *to, struct pruned *ret)
{
    struct prune p = {.run = run, .to = to, .cached = -1, .incomplete = -1};
    int r = cache_mount_folder(run->mount, "cached", &p.cached);
    if (r < 0)
        return r;
    r = run->dry_run ? 0 : take_turn(&p);
    if (r == 0)
        r = read_use(&p);
    if (r == 0 && p.need > 0)
        r = all_passes(&p);
    if (r == 0 || p.images > 0) {
        tell(&p);
        finish_report(&p);
    }
    if (r == -EINTR)
        log_warning("stopped before the end");
    forget_kept(&p, true);
    if (p.incomplete >= 0)
        close(p.incomplete);
    close(p.cached);
    *ret = (struct pruned){.images = p.images, .bytes = p.bytes, .failed = p.failed, .over = p.need};
    return r;
}
