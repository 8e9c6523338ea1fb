/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file system fetches what is queued by itself; here is seen how it goes. An image is fetched when its entry is gone from queued/ and
 * it is in cached/, and has failed when its entry moved to invalid/, or stays but waits to be tried again: that is the file system's
 * business, this run is over for it. An entry that waited so at the start is made anew, so that it is tried now.
 */
#include "config-auto.h"

#include "prefetcher/prefetch_run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include "common/folder.h"
#include "common/progress.h"
#include "image/id.h"

enum { TELL_S = 30 };

static const char WAITING_AGAIN[] = "waiting to try again";

/* ---- telling */

static double seconds_since(int64_t when)
{
    return when == 0 ? 0 : (double)(clock_monotonic() - when) / (double)NS_PER_S;
}

static void report(const struct prefetch_run *p, const struct item *item)
{
    if (p->run->report == NULL)
        return;
    const char *result = item->state == ITEM_CACHED ? "cached" : item->state == ITEM_FAILED ? "failed" : "queued";
    json_t *o = json_pack("{s:o, s:s, s:I, s:f}", "image", json_text(item->name), "result", result, "bytes",
                          (json_int_t)(item->state == ITEM_CACHED ? item->size : item->bytes), "seconds", seconds_since(item->began));
    if (o != NULL && item->state == ITEM_FAILED)
        json_object_set_new(o, "error", json_text(item->why));
    tool_report(p->run, "images", o);
}

static void set_state(struct prefetch_run *p, struct item *item, enum item_state state)
{
    p->states[item->state]--;
    p->states[state]++;
    item->state = state;
}

static void has_failed(struct prefetch_run *p, struct item *item, const char *why)
{
    snprintf(item->why, sizeof(item->why), "%s", why);
    set_state(p, item, ITEM_FAILED);
    progress_clear();
    log_error("%s: failed: %s", item->name, item->why);
    report(p, item);
}

static void is_cached(struct prefetch_run *p, struct item *item, uint64_t size)
{
    char all[QUANTITY_MAX], took[QUANTITY_MAX], rate[QUANTITY_MAX];
    double seconds = seconds_since(item->began);
    item->size = size;
    set_state(p, item, ITEM_CACHED);
    progress_clear();
    if (seconds >= 1 && size > item->bytes_before)
        log_info("%s: cached, %s in %s, %s/s", item->name, format_bytes(size, all), format_seconds((uint64_t)(seconds + 0.5), took),
                 format_bytes((uint64_t)((double)(size - item->bytes_before) / seconds), rate));
    else
        log_info("%s: cached, %s", item->name, format_bytes(size, all));
    report(p, item);
}

/* Where there is no terminal to show it: a line every now and then. */
static void tell_progress(struct item *item)
{
    char here[QUANTITY_MAX], all[QUANTITY_MAX], rate[QUANTITY_MAX];
    int64_t now = clock_monotonic();
    if (progress_wanted() || now - item->told < TELL_S * NS_PER_S)
        return;
    if (item->told != 0)
        log_info("%s: %s of %s, %s/s", item->name, format_bytes(item->bytes, here),
                 item->size != 0 ? format_bytes(item->size, all) : "an unknown size", format_bytes((uint64_t)item->rate, rate));
    item->told = now;
}

/* ---- collecting */

static int add(struct prefetch_run *p, const char *name, struct item **ret)
{
    if (p->count == p->room) {
        size_t room = p->room == 0 ? 64 : p->room * 2;
        struct item *items = reallocarray(p->items, room, sizeof(*items));
        if (items == NULL)
            return log_errno(-ENOMEM, "listing what is queued");
        p->items = items;
        p->room = room;
    }
    char *copy = strdup(name);
    if (copy == NULL)
        return log_errno(-ENOMEM, "listing what is queued");
    p->items[p->count] = (struct item){.name = copy, .state = ITEM_WAITING};
    p->states[ITEM_WAITING]++;
    if (ret != NULL)
        *ret = &p->items[p->count];
    p->count++;
    return 0;
}

static int add_queued(void *context, const char *name)
{
    return add(context, name, NULL);
}

/* As touch(1) does it. */
static int queue(const struct prefetch_run *p, const char *name)
{
    int fd = openat(p->queued, name, O_WRONLY | O_CREAT | O_NOCTTY | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static const char *why_not_queued(int r)
{
    return r == -ENOENT ? "the backend has no such image" : r == -EACCES ? "the backend does not let us have it" : error_text(r);
}

static int add_named(void *context, const char *name)
{
    struct prefetch_run *p = context;
    struct item *item;
    char why[320], near[256];
    if (tool_stopping())
        return -EINTR;
    int r = add(p, name, &item);
    if (r < 0)
        return r;
    r = !image_id_valid(name) ? -ENOENT : p->run->dry_run ? 0 : queue(p, name);
    if (r == 0)
        return 0;
    snprintf(why, sizeof(why), "%s", why_not_queued(r));
    if (r == -ENOENT && wanted_nearest(p->run->mount, name, near, sizeof(near)))
        snprintf(why, sizeof(why), "%s; did you mean %.200s?", why_not_queued(r), near);
    has_failed(p, item, why);
    return 0;
}

int prefetch_collect(struct prefetch_run *p, const struct wanted *wanted)
{
    p->began = clock_monotonic();
    if (wanted->count == 0 && wanted->own_count == 0 && !wanted->all)
        return folder_each(p->run->mount, "queued", add_queued, p);
    return wanted_each(wanted, p->run->mount, add_named, p);
}

/* ---- looking */

static void try_now(struct prefetch_run *p, struct item *item, const json_t *document)
{
    const char *why = json_string_value(json_object_get(document, "error"));
    log_debug("%s: it had failed (%s) and is tried now", item->name, why != NULL ? why : "no reason told");
    if (unlinkat(p->queued, item->name, 0) < 0 && errno != ENOENT)
        return;
    int r = queue(p, item->name);
    if (r < 0)
        has_failed(p, item, why_not_queued(r));
}

static void fails_for_now(struct prefetch_run *p, struct item *item, const json_t *document)
{
    char why[200], text[QUANTITY_MAX];
    const char *error = json_string_value(json_object_get(document, "error"));
    int64_t next = (int64_t)(json_number_value(json_object_get(document, "next_try")) * (double)NS_PER_S) - clock_now();
    snprintf(why, sizeof(why), "%.140s; tried again in %s", error != NULL && *error != '\0' ? error : "no reason told",
             format_seconds(next < 0 ? 0 : (uint64_t)(next / NS_PER_S), text));
    has_failed(p, item, why);
}

static void goes_on(struct prefetch_run *p, struct item *item, const json_t *document)
{
    int64_t now = clock_monotonic();
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(document, "bytes_cached"));
    double passed = item->looked == 0 ? 0 : (double)(now - item->looked) / (double)NS_PER_S;
    if (item->state == ITEM_WAITING) {
        set_state(p, item, ITEM_FETCHING);
        item->began = now;
        item->bytes_before = bytes;
    } else if (passed > 0.01) {
        double rate = bytes > item->bytes ? (double)(bytes - item->bytes) / passed : 0;
        double weight = passed < 2 ? passed / 2 : 1; /* over the last two seconds or so */
        item->rate = item->rate == 0 ? rate : item->rate * (1 - weight) + rate * weight;
    }
    item->looked = now;
    item->bytes = bytes;
    item->size = (uint64_t)json_integer_value(json_object_get(document, "size"));
    tell_progress(item);
}

/* It is not queued any more. */
static void is_over(struct prefetch_run *p, struct item *item)
{
    struct folder_entry entry;
    json_t *document = NULL;
    if (folder_stat(p->cached, item->name, true, &entry) == 0) {
        is_cached(p, item, entry.size);
        return;
    }
    const char *why = NULL;
    if (cache_mount_document(p->run->mount, "invalid", item->name, &document) == 0)
        why = json_string_value(json_object_get(document, "reason"));
    has_failed(p, item, why != NULL ? why : "it was taken off the queue, or does not fit and was evicted at once (see image_cache_max_size)");
    json_decref(document);
}

static void look(struct prefetch_run *p, struct item *item)
{
    json_t *document;
    int r = cache_mount_document(p->run->mount, "queued", item->name, &document);
    if (r == -ENOENT || r == -ESTALE) {
        is_over(p, item);
        return;
    }
    if (r < 0) {
        has_failed(p, item, error_text(r));
        return;
    }
    const char *state = json_string_value(json_object_get(document, "state"));
    if (item->size == 0) /* for the sums, before its turn comes */
        item->size = (uint64_t)json_integer_value(json_object_get(document, "size"));
    if (state != NULL && strcmp(state, "fetching") == 0)
        goes_on(p, item, document);
    else if (state != NULL && strcmp(state, WAITING_AGAIN) == 0 && !item->seen)
        try_now(p, item, document);
    else if (state != NULL && strcmp(state, WAITING_AGAIN) == 0)
        fails_for_now(p, item, document);
    item->seen = true;
    json_decref(document);
}

int prefetch_look(struct prefetch_run *p)
{
    for (size_t i = 0; i < p->count; i++) {
        if (tool_stopping())
            return -EINTR;
        if (p->items[i].state == ITEM_WAITING || p->items[i].state == ITEM_FETCHING)
            look(p, &p->items[i]);
    }
    return 0;
}

/* It was reported as cached. */
static void take_back(const struct prefetch_run *p, const struct item *item)
{
    size_t i;
    json_t *o, *images = p->run->report != NULL ? json_object_get(p->run->report, "images") : NULL;
    json_array_foreach(images, i, o) {
        const char *name = json_string_value(json_object_get(o, "image"));
        if (name == NULL || strcmp(name, item->name) != 0)
            continue;
        json_object_set_new(o, "result", json_string("failed"));
        json_object_set_new(o, "error", json_text(item->why));
    }
}

void prefetch_count_again(struct prefetch_run *p)
{
    struct folder_entry entry;
    for (size_t i = 0; i < p->count; i++) {
        struct item *item = &p->items[i];
        if (item->state != ITEM_CACHED || folder_stat(p->cached, item->name, true, &entry) != -ENOENT)
            continue;
        snprintf(item->why, sizeof(item->why), "it does not fit: it was evicted again for other images (see image_cache_max_size and min_free)");
        set_state(p, item, ITEM_FAILED);
        log_error("%s: failed: %s", item->name, item->why);
        take_back(p, item);
    }
}

void prefetch_report_left(const struct prefetch_run *p)
{
    for (size_t i = 0; i < p->count && !p->run->dry_run; i++) {
        if (p->items[i].state == ITEM_WAITING || p->items[i].state == ITEM_FETCHING)
            report(p, &p->items[i]);
    }
}

bool prefetch_is_over(const struct prefetch_run *p)
{
    return p->states[ITEM_WAITING] == 0 && p->states[ITEM_FETCHING] == 0;
}
