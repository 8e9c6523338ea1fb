/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "top/draw.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "common/progress.h"
#include "common/troubles.h"

enum { COLUMNS_LEAST = 40, BAR = 20 };

/* ---- lines */

struct pen {
    struct drawing *to;
    size_t columns;
};

static void __attribute__((format(printf, 3, 4))) put(struct pen *p, enum draw_style style, const char *format, ...)
{
    char text[DRAW_COLUMNS];
    size_t used;
    if (p->to->count == DRAW_LINES)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    for (char *c = text; *c != '\0'; c++)
        *c = (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c;
    size_t length = format_fitting(text, strlen(text), p->columns, &used);
    while (length > 0 && text[length - 1] == ' ')
        length--;
    p->to->line[p->to->count].style = style;
    snprintf(p->to->line[p->to->count].text, DRAW_COLUMNS, "%.*s", (int)length, text);
    p->to->count++;
}

/* ---- of the document */

static const json_t *group(const json_t *look, const char *name)
{
    return json_object_get(json_object_get(look, "cache"), name);
}

static uint64_t number(const json_t *object, const char *name)
{
    double n = json_number_value(json_object_get(object, name));
    return n > 0 ? (uint64_t)n : 0;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static const char *ago(const json_t *look, double then, char text[QUANTITY_MAX + 8])
{
    char took[QUANTITY_MAX];
    double now = json_number_value(json_object_get(look, "time"));
    if (then <= 0)
        snprintf(text, QUANTITY_MAX + 8, "never");
    else
        snprintf(text, QUANTITY_MAX + 8, "%s ago", format_seconds(now > then ? (uint64_t)(now - then) : 0, took));
    return text;
}

static unsigned percent(uint64_t part, uint64_t all)
{
    return all == 0 ? 0 : (unsigned)((double)part * 100 / (double)all + 0.5);
}

/* ---- the sums */

static void draw_state(struct pen *p, const json_t *look)
{
    json_t *troubles = troubles_of(json_object_get(look, "cache")), *trouble;
    size_t i;
    if (json_array_size(troubles) == 0)
        put(p, DRAW_GOOD, "OK%s", json_is_true(group(look, "adopting")) ? "  (files found in the cache directory are being looked at)" : "");
    json_array_foreach(troubles, i, trouble)
        put(p, DRAW_BAD, "%s%s", i == 0 ? "DEGRADED  " : "          ", json_string_value(trouble));
    json_decref(troubles);
}

static void draw_space(struct pen *p, const json_t *look)
{
    char used_text[QUANTITY_MAX], limit_text[QUANTITY_MAX], disk_text[QUANTITY_MAX], bar[BAR + 1];
    const json_t *space = group(look, "space"), *images = group(look, "images");
    uint64_t used = number(space, "used"), limit = number(space, "limit");
    size_t full = limit == 0 ? 0 : (size_t)((double)(used < limit ? used : limit) / (double)limit * BAR);
    memset(bar, '-', BAR);
    memset(bar, '#', full);
    bar[BAR] = '\0';
    put(p, DRAW_PLAIN, "Space   %s of %s (%u %%) [%s] %s of disk free", format_bytes(used, used_text),
        limit == 0 ? "no limit" : format_bytes(limit, limit_text), percent(used, limit), bar,
        format_bytes(number(space, "disk_available"), disk_text));
    put(p, DRAW_PLAIN, "Images  %" PRIu64 " cached, %" PRIu64 " incomplete, %" PRIu64 " queued, %" PRIu64 " invalid, %" PRIu64
        " evicted but open", number(images, "cached"), number(images, "incomplete"), number(images, "queued"), number(images, "invalid"),
        number(images, "evicted_but_open"));
}

/* "97 % of 120 opens", or that there were none. */
static void hits_text(uint64_t hits, uint64_t misses, char *text, size_t size)
{
    if (hits + misses == 0)
        snprintf(text, size, "no opens");
    else
        snprintf(text, size, "%u %% hits of %" PRIu64 " opens", percent(hits, hits + misses), hits + misses);
}

static void draw_period(struct pen *p, const char *title, const struct samples *samples, unsigned seconds)
{
    struct sample s;
    char hits[80], fetched[QUANTITY_MAX], rate[QUANTITY_MAX];
    int64_t ns;
    if (!samples_over(samples, seconds, &s, &ns))
        return;
    hits_text(s.hits, s.misses, hits, sizeof(hits));
    put(p, DRAW_PLAIN, "%s %s, %s fetched (%s/s), %" PRIu64 " backend errors, %" PRIu64 " evictions", title, hits,
        format_bytes(s.bytes_fetched, fetched), format_bytes((uint64_t)((double)s.bytes_fetched * 1e9 / (double)ns), rate),
        s.backend_errors, s.evictions);
}

static void draw_use(struct pen *p, const json_t *look, const struct samples *samples)
{
    char hits[80], fetched[QUANTITY_MAX];
    const json_t *counters = group(look, "counters");
    draw_period(p, "Minute ", samples, 60);
    draw_period(p, "Hour   ", samples, 3600);
    hits_text(number(counters, "hits"), number(counters, "misses"), hits, sizeof(hits));
    put(p, DRAW_PLAIN, "Mount   %s, %s fetched; %" PRIu64 " open handles", hits, format_bytes(number(counters, "bytes_fetched"), fetched),
        number(counters, "open_handles"));
}

/* ---- the tables */

/* What this server does not take, and is asked without: no fault, but a reason for what is slower or less sure. */
static void draw_refused(struct pen *p, const json_t *endpoint)
{
    char line[DRAW_COLUMNS] = "";
    const json_t *name;
    size_t i, used = 0;
    json_array_foreach(json_object_get(endpoint, "refuses"), i, name) {
        used = strlen(line);
        snprintf(line + used, sizeof(line) - used, "%s%s", i > 0 ? ", " : "", json_string_value(name));
    }
    if (line[0] != '\0')
        put(p, DRAW_FAINT, "  asked without what it refuses: %s", line);
}

static void draw_backend(struct pen *p, const json_t *look)
{
    const json_t *endpoint;
    char name[NAME_TEXT_MAX], ok[QUANTITY_MAX + 8], bad[QUANTITY_MAX + 8];
    size_t i, width = p->columns > 44 + 12 ? p->columns - 44 : 12;
    put(p, DRAW_PLAIN, "%s", "");
    put(p, DRAW_TITLE, "%s  %-8s  %-15s  %s", format_name("BACKEND", width, name), "STATE", "LAST ANSWER", "LAST ERROR");
    json_array_foreach(json_object_get(group(look, "backend"), "endpoints"), i, endpoint) {
        bool good = strcmp(text_of(endpoint, "state"), "ok") == 0;
        put(p, good ? DRAW_PLAIN : DRAW_BAD, "%s  %-8s  %-15s  %s", format_name(text_of(endpoint, "endpoint"), width, name),
            text_of(endpoint, "state"), ago(look, json_number_value(json_object_get(endpoint, "last_ok")), ok),
            ago(look, json_number_value(json_object_get(endpoint, "last_error_at")), bad));
        draw_refused(p, endpoint);
    }
}

static void draw_fetches(struct pen *p, const json_t *look)
{
    const json_t *fetches = group(look, "fetches"), *fetch;
    char name[NAME_TEXT_MAX], size_text[QUANTITY_MAX], rate_text[QUANTITY_MAX], left[QUANTITY_MAX];
    size_t i, width = p->columns > 58 + 12 ? p->columns - 58 : 12;
    if (json_array_size(fetches) == 0)
        return;
    put(p, DRAW_PLAIN, "%s", "");
    put(p, DRAW_TITLE, "%s  %-8s  %5s  %10s  %12s  %s", format_name("BEING FETCHED", width, name), "FOR", "DONE", "SIZE", "RATE", "LEFT");
    json_array_foreach(fetches, i, fetch) {
        uint64_t size = number(fetch, "size"), here = number(fetch, "bytes_cached"), rate = number(fetch, "bytes_per_second");
        const char *why = json_is_true(json_object_get(fetch, "verifying")) ? "verify" : text_of(fetch, "for");
        snprintf(left, sizeof(left), "%s", "-");
        if (rate > 0 && size > here)
            format_seconds((size - here) / rate, left);
        snprintf(rate_text, sizeof(rate_text), "%s", "-");
        if (rate > 0)
            format_bytes(rate, rate_text);
        put(p, DRAW_PLAIN, "%s  %-8s  %3u %%  %10s  %10s%s  %s", format_name(text_of(fetch, "image"), width, name), why, percent(here, size),
            format_bytes(size, size_text), rate_text, rate > 0 ? "/s" : "  ", left);
    }
}

static void draw_busiest(struct pen *p, const json_t *look)
{
    const json_t *images = json_object_get(look, "busiest"), *image;
    char name[NAME_TEXT_MAX], size_text[QUANTITY_MAX], read[QUANTITY_MAX + 8], open[24];
    size_t i, width = p->columns > 53 + 12 ? p->columns - 53 : 12;
    if (json_array_size(images) == 0)
        return;
    put(p, DRAW_PLAIN, "%s", "");
    put(p, DRAW_TITLE, "%s  %5s  %8s  %10s  %-14s  %s", format_name("CACHED, BUSIEST", width, name), "OPEN", "HITS", "SIZE", "LAST READ", "PIN");
    json_array_foreach(images, i, image) {
        const json_t *opened = json_object_get(image, "open");
        snprintf(open, sizeof(open), "-");
        if (json_is_integer(opened))
            snprintf(open, sizeof(open), "%" JSON_INTEGER_FORMAT, json_integer_value(opened));
        put(p, DRAW_PLAIN, "%s  %5s  %8" PRIu64 "  %10s  %-14s  %s", format_name(text_of(image, "image"), width, name), open, number(image, "hits"),
            format_bytes(number(image, "size"), size_text), ago(look, json_number_value(json_object_get(image, "last_accessed")), read),
            json_is_true(json_object_get(image, "pinned")) ? "yes" : "");
    }
}

static void draw_invalid(struct pen *p, const json_t *look)
{
    const json_t *images = json_object_get(look, "invalid"), *image;
    char name[NAME_TEXT_MAX];
    size_t i, width = p->columns / 3 > 12 ? p->columns / 3 : 12;
    if (json_array_size(images) == 0)
        return;
    put(p, DRAW_PLAIN, "%s", "");
    put(p, DRAW_TITLE, "%s  %s", format_name("FAILED", width, name), "WHY");
    json_array_foreach(images, i, image)
        put(p, DRAW_BAD, "%s  %s", format_name(text_of(image, "image"), width, name), text_of(image, "reason"));
}

void draw(const json_t *look, const struct samples *samples, size_t columns, struct drawing *ret)
{
    struct pen p = {.to = ret, .columns = columns < COLUMNS_LEAST ? COLUMNS_LEAST : columns >= DRAW_COLUMNS / 4 ? DRAW_COLUMNS / 4 : columns};
    char up[QUANTITY_MAX], clock[16] = "";
    time_t now = (time_t)json_number_value(json_object_get(look, "time"));
    double mounted = json_number_value(group(look, "mounted_at"));
    struct tm tm;
    ret->count = 0;
    if (localtime_r(&now, &tm) != NULL)
        strftime(clock, sizeof(clock), "%H:%M:%S", &tm);
    put(&p, DRAW_TITLE, "%s  %s  glance-cache-fs %s, mounted for %s", clock, text_of(look, "where"),
        text_of(json_object_get(look, "cache"), "version"), format_seconds((double)now > mounted ? (uint64_t)((double)now - mounted) : 0, up));
    draw_state(&p, look);
    draw_space(&p, look);
    draw_use(&p, look, samples);
    draw_backend(&p, look);
    draw_fetches(&p, look);
    draw_busiest(&p, look);
    draw_invalid(&p, look);
}
