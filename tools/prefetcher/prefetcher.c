/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glance-cache-prefetcher(1): waits until all queued images are fetched, shows how far they are, and tells the result of each. The file
 * system fetches them by itself; with --jobs they are read here as well, which has them fetched at once and so many at a time.
 */
#include "config-auto.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "common/progress.h"
#include "common/tool.h"
#include "prefetcher/prefetch_run.h"
#include "prefetcher/readers.h"

enum { LOOK_MS = 200, JOBS_MAX = 256 };

static struct {
    uint64_t jobs; /* 0: the file system's own */
    struct wanted wanted;
    bool of_file; /* a file was named: also when nothing is in it */
} asked;

static int take_option(const char *name, const char *value)
{
    if (strcmp(name, "all") == 0) {
        asked.wanted.all = true;
        return 0;
    }
    if (strcmp(name, "file") == 0) {
        asked.of_file = true;
        return wanted_read(&asked.wanted, value);
    }
    return tool_take_number(name, value, 1, JOBS_MAX, &asked.jobs);
}

static void take_operands(char **operands, size_t count)
{
    asked.wanted.names = operands;
    asked.wanted.count = count;
}

/* ---- the progress */

static void sum_up(const struct prefetch_run *p, char *line, size_t size)
{
    char rate_text[QUANTITY_MAX], here_text[QUANTITY_MAX], all_text[QUANTITY_MAX], left_text[QUANTITY_MAX] = "", failed[32] = "";
    uint64_t here = 0, all = 0;
    double rate = 0;
    bool known = true;
    for (size_t i = 0; i < p->count; i++) {
        const struct item *item = &p->items[i];
        if (item->state == ITEM_FAILED)
            continue;
        rate += item->state == ITEM_FETCHING ? item->rate : 0;
        here += item->state == ITEM_CACHED ? item->size : item->bytes;
        all += item->size;
        known = known && item->size > 0;
    }
    if (rate >= 1 && all > here)
        format_seconds((uint64_t)((double)(all - here) / rate), left_text);
    if (p->states[ITEM_FAILED] > 0)
        snprintf(failed, sizeof(failed), ", %zu failed", p->states[ITEM_FAILED]);
    snprintf(line, size, "%zu of %zu images%s; %s of %s%s, %u %%, %s/s%s%s\n", p->states[ITEM_CACHED], p->count, failed, format_bytes(here, here_text),
             known ? "" : "at least ", format_bytes(all, all_text), all > 0 ? (unsigned)((double)here * 100 / (double)all) : 0,
             format_bytes((uint64_t)rate, rate_text), left_text[0] != '\0' ? ", " : "", left_text);
}

static void draw(const struct prefetch_run *p)
{
    size_t rows, columns, shown = 0, size;
    char line[1024], *text = NULL;
    if (!progress_wanted())
        return;
    progress_room(&rows, &columns);
    FILE *memory = open_memstream(&text, &size);
    if (memory == NULL)
        return;
    for (size_t i = 0; i < p->count && shown + 1 < rows; i++) {
        const struct item *item = &p->items[i];
        if (item->state != ITEM_FETCHING)
            continue;
        progress_line(item->name, item->bytes, item->size, (uint64_t)item->rate, columns, line, sizeof(line));
        fputs(line, memory);
        shown++;
    }
    sum_up(p, line, sizeof(line));
    fputs(line, memory);
    if (fclose(memory) == 0)
        progress_show(text);
    free(text);
}

/* ---- one run */

/* A tenth of the time at most goes into looking, however many images are queued. */
static int watch(struct prefetch_run *p)
{
    int r = 0;
    while (r == 0) {
        int64_t began = clock_monotonic();
        r = prefetch_look(p);
        if (r < 0 || prefetch_is_over(p))
            break;
        draw(p);
        int64_t pause = (clock_monotonic() - began) * 10;
        tool_sleep(pause < LOOK_MS * NS_PER_MS ? LOOK_MS * NS_PER_MS : pause);
    }
    progress_clear();
    return r;
}

static int fetch(struct prefetch_run *p)
{
    struct readers *readers = NULL;
    int r = 0;
    if (p->count > p->states[ITEM_FAILED])
        log_info("fetching %zu images", p->count - p->states[ITEM_FAILED]);
    if (asked.jobs > 0 && p->count > 0)
        r = readers_start(p, asked.jobs < p->count ? (size_t)asked.jobs : p->count, &readers);
    if (r == 0)
        r = watch(p);
    readers_leave(readers);
    return r;
}

static void list(const struct prefetch_run *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const char *name = p->items[i].name;
        log_info("%s: would be fetched", name);
        tool_report(p->run, "images", json_pack("{s:o, s:s}", "image", json_text(name), "result", "queued"));
    }
}

static void tell(const struct prefetch_run *p, int r)
{
    char took[QUANTITY_MAX];
    size_t left = p->states[ITEM_WAITING] + p->states[ITEM_FETCHING];
    if (p->count == 0)
        log_info("nothing is queued");
    else if (!p->run->dry_run)
        log_info("%zu of %zu images are cached, %zu failed, in %s", p->states[ITEM_CACHED], p->count, p->states[ITEM_FAILED],
                 format_seconds((uint64_t)((clock_monotonic() - p->began) / NS_PER_S), took));
    if (r == -EINTR)
        log_warning("stopped before the end: the file system goes on with the %zu images that are left", left);
    prefetch_report_left(p);
    if (p->run->report != NULL) {
        json_t *more = json_pack("{s:I, s:I, s:I}", "cached_count", (json_int_t)p->states[ITEM_CACHED], "failed_count",
                                 (json_int_t)p->states[ITEM_FAILED], "left_count", (json_int_t)left);
        json_object_update(p->run->report, more);
        json_decref(more);
    }
}

static void clear(struct prefetch_run *p)
{
    for (size_t i = 0; i < p->count; i++)
        free(p->items[i].name);
    free(p->items);
    if (p->queued >= 0)
        close(p->queued);
    if (p->cached >= 0)
        close(p->cached);
}

/* A file was empty: that is nothing, and not all that is queued. */
static bool nothing_is_wanted(void)
{
    return asked.wanted.count == 0 && asked.wanted.own_count == 0 && !asked.wanted.all;
}

static enum tool_exit run(struct tool_run *tool_run)
{
    struct prefetch_run p = {.run = tool_run, .queued = -1, .cached = -1};
    int r = cache_mount_folder(tool_run->mount, "queued", &p.queued);
    if (r == 0)
        r = cache_mount_folder(tool_run->mount, "cached", &p.cached);
    if (r == 0)
        r = asked.of_file && nothing_is_wanted() ? 0 : prefetch_collect(&p, &asked.wanted);
    if (r == 0 && tool_run->dry_run)
        list(&p);
    else if (r == 0)
        r = fetch(&p);
    prefetch_count_again(&p);
    tell(&p, r);
    enum tool_exit code = r < 0 ? TOOL_FAILED : p.states[ITEM_FAILED] > 0 ? TOOL_PARTLY : TOOL_DONE;
    clear(&p);
    return code;
}

int main(int argc, char **argv)
{
    static const struct tool_option options[] = {
        {"all", NULL, "all images that the backend lists"},
        {"file", "FILE", "the images that a file names, a name or pattern a line; -: standard input"},
        {"jobs", "NUMBER", "read so many images at a time, which has them fetched at once,\n"
                           "as for any reader; else the file system fetches what is queued,\n"
                           "prefetch_concurrency at a time, after what others wait for"},
    };
    static const char *const lists[] = {"images", NULL};
    static const struct tool prefetcher = {
        .name = "glance-cache-prefetcher",
        .operands = " [ID|PATTERN ...]",
        .purpose = "Waits until all queued images are fetched, and tells the result of each; with IDs, or\n"
                   "patterns such as 'debian*' in quotation marks, queues these and waits for them only.",
        .exits = "Exit status: 0 all images are cached; 1 nothing could be done, or a signal came; 2 some\n"
                 "failed, the log says which and why.",
        .options = options,
        .option_count = sizeof(options) / sizeof(options[0]),
        .lists = lists,
        .take_option = take_option,
        .take_operands = take_operands,
        .run = run,
    };
    int code = tool_main(argc, argv, &prefetcher);
    if (asked.jobs > 0)
        _exit(code); /* a reader may still wait for bytes: what looks at all threads when a process ends would wait for it */
    return code;
}
