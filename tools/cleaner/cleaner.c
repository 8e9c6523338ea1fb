/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glance-cache-cleaner(1): cleans, and with --verify reads cached images again and quarantines the rotten ones, so that the next read
 * fetches them afresh.
 */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cleaner/clean.h"
#include "cleaner/verify.h"
#include "common/folder.h"
#include "common/progress.h"

enum { STALL_TIME_DEFAULT = 86400, STALL_TIME_MAX = 10 * 365 * 86400 };

struct clean {
    const struct tool_run *run;
    int folder, invalid_folder; /* cached/ and invalid/ */
    struct cleaned cleaned;
    uint64_t right, rotten, without_digest;
    uint64_t failed;
    struct verifier verifier;
};

static struct {
    bool verify;
    uint64_t rate;
    bool has_stall_time;
    uint64_t stall_time;
} asked = {.rate = 100 << 20};

static int take_option(const char *name, const char *value)
{
    if (strcmp(name, "rate") == 0)
        return tool_take_size(name, value, &asked.rate);
    if (strcmp(name, "stall-time") == 0) {
        asked.has_stall_time = true;
        return tool_take_number(name, value, 0, STALL_TIME_MAX, &asked.stall_time);
    }
    asked.verify = true;
    return 0;
}

static int failed(struct clean *c, const char *name, const char *what, int r)
{
    c->failed++;
    clean_failed(c->run, name, what, r);
    return 0;
}

/* ---- cached/ */

/* Only what was read goes: the image may have been evicted and fetched afresh meanwhile. */
static int quarantine(struct clean *c, const char *name, const struct verified *v)
{
    struct folder_entry entry;
    int r = folder_stat(c->folder, name, true, &entry);
    if (r == -ENOENT || (r == 0 && entry.inode != v->inode))
        return 0;
    if (r == 0 && !c->run->dry_run && renameat(c->folder, name, c->invalid_folder, name) < 0)
        r = -errno;
    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return failed(c, name, "it is rotten, but cannot be moved to invalid/", r);
    c->rotten++;
    progress_clear();
    log_warning("%s: rotten, %s: %s", name, v->why, c->run->dry_run ? "it would be moved to invalid/"
                : "moved to invalid/, the next read fetches it afresh");
    clean_report(c->run, "rotten", name, v->why, entry.size);
    return 0;
}

static int verify(void *context, const char *name)
{
    struct clean *c = context;
    struct verified v;
    int r = verify_image(&c->verifier, name, &v);
    if (r == -EINTR)
        return r;
    if (r < 0)
        return failed(c, name, "it cannot be verified", r);
    switch (v.result) {
    case VERIFY_RIGHT:
        c->right++;
        break;
    case VERIFY_NO_DIGEST:
        c->without_digest++;
        break;
    case VERIFY_ROTTEN:
        return quarantine(c, name, &v);
    case VERIFY_GONE:
        break;
    }
    return 0;
}

/* ---- one run */

static int verify_all(struct clean *c)
{
    json_t *status;
    int r = cache_mount_status(c->run->mount, &status);
    if (r < 0)
        return r;
    uint64_t images = cache_status_number(status, "images", "cached");
    json_decref(status);
    r = cache_mount_folder(c->run->mount, "invalid", &c->invalid_folder);
    if (r < 0)
        return r;
    r = cache_mount_folder(c->run->mount, "cached", &c->folder);
    if (r == 0) {
        r = verifier_begin(&c->verifier, c->run->mount, c->folder, asked.rate, images);
        r = r < 0 ? log_errno(r, "verifying") : folder_each(c->run->mount, "cached", verify, c);
        verifier_end(&c->verifier);
        close(c->folder);
    }
    close(c->invalid_folder);
    return r;
}

static void tell(const struct clean *c)
{
    char read[QUANTITY_MAX];
    if (asked.verify)
        log_info("verified %" PRIu64 " images, %s: %" PRIu64 " right, %" PRIu64 " rotten; of %" PRIu64 " more no digest is known",
                 c->right + c->rotten, format_bytes(c->verifier.bytes, read), c->right, c->rotten, c->without_digest);
}

static void finish_report(const struct clean *c)
{
    if (c->run->report == NULL)
        return;
    json_t *more = json_pack("{s:I, s:I, s:I, s:I}", "invalid_count", (json_int_t)c->cleaned.invalid, "stalled_count",
                             (json_int_t)c->cleaned.stalled, "stalled_bytes", (json_int_t)c->cleaned.stalled_bytes, "failed_count",
                             (json_int_t)c->failed);
    if (asked.verify)
        json_object_set_new(more, "verified", json_pack("{s:I, s:I, s:I, s:I}", "right", (json_int_t)c->right, "rotten",
                                                        (json_int_t)c->rotten, "without_digest", (json_int_t)c->without_digest,
                                                        "bytes_read", (json_int_t)c->verifier.bytes));
    json_object_update(c->run->report, more);
    json_decref(more);
}

static enum tool_exit run(struct tool_run *tool_run)
{
    struct clean c = {.run = tool_run, .folder = -1, .invalid_folder = -1};
    uint64_t stall_time = asked.has_stall_time ? asked.stall_time
                   : tool_run->config != NULL ? tool_run->config->image_cache_stall_time : STALL_TIME_DEFAULT;
    int r = clean_run(tool_run, stall_time, &c.cleaned);
    c.failed = c.cleaned.failed;
    if (r == 0 && asked.verify)
        r = verify_all(&c);
    tell(&c);
    finish_report(&c);
    if (r == -EINTR)
        log_warning("stopped before the end");
    return r < 0 ? TOOL_FAILED : c.failed > 0 ? TOOL_PARTLY : TOOL_DONE;
}

int main(int argc, char **argv)
{
    static const struct tool_option options[] = {
        {"verify", NULL, "read cached images again, compare them with their digests, and\nmove rotten ones to invalid/"},
        {"rate", "SIZE", "with --verify: read at most so many bytes a second (100M);\n0: as fast as it goes"},
        {"stall-time", "SECONDS", "instead of image_cache_stall_time"},
    };
    static const char *const lists[] = {"invalid_removed", "stalled_removed", "rotten", "failed", NULL};
    static const struct tool cleaner = {
        .name = "glance-cache-cleaner",
        .operands = "",
        .purpose = "Empties invalid/, and removes from incomplete/ what has made no progress for\n"
                   "image_cache_stall_time and nobody has open.",
        .exits = "Exit status: 0 all is done (rotten images found are no failure); 1 nothing could be\n"
                 "done, or a signal came; 2 something could not be removed or verified, the log says what.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .lists = lists,
        .take_option = take_option,
        .run = run,
    };
    return tool_main(argc, argv, &cleaner);
}
