/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What several hosts have, side by side, of the documents of /status. Every host has its place, also the one that does not answer: a host
 * that is missing from a table is taken for one that is well.
 */
#include "config-auto.h"

#include <stdlib.h>
#include <string.h>

#include "common/troubles.h"
#include "manage/manage.h"

static const json_t *lists_of(const struct result *r, const char *name)
{
    return r->answer.ok ? json_object_get(r->answer.body, name) : NULL;
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "";
}

static json_int_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

/* The id, whichever of its names an older server gives it. */
static const char *id_of(const json_t *image)
{
    return json_object_get(image, "image") != NULL ? text_of(image, "image") : text_of(image, "id");
}

/* ---- status */

struct sums {
    double used, limit;
    json_int_t cached, queued, invalid, hits, misses;
    size_t well;
};

static const char *state_of(const struct result *r, json_t *troubles)
{
    if (r->answer.ok)
        return json_array_size(troubles) > 0 ? "degraded" : "ok";
    return r->answer.status == 0 ? "down" : r->answer.status == 503 ? "no mount" : r->answer.status == 401 || r->answer.status == 403 ? "refused" : "error";
}

static void add_row(struct table *t, const char *host, const struct sums *s, const char *state)
{
    char used[32], limit[32], cached[24], queued[24], invalid[24], hits[24] = "-";
    bytes_text(s->used, used, sizeof(used));
    bytes_text(s->limit, limit, sizeof(limit));
    snprintf(cached, sizeof(cached), "%" JSON_INTEGER_FORMAT, s->cached);
    snprintf(queued, sizeof(queued), "%" JSON_INTEGER_FORMAT, s->queued);
    snprintf(invalid, sizeof(invalid), "%" JSON_INTEGER_FORMAT, s->invalid);
    if (s->hits + s->misses > 0)
        snprintf(hits, sizeof(hits), "%.0f %%", (double)s->hits * 100 / (double)(s->hits + s->misses));
    const char *const cells[] = {host, used, limit, cached, queued, invalid, hits, state};
    table_add(t, cells);
}

static void add_host(struct table *t, const struct result *r, struct sums *all)
{
    const json_t *cache = json_object_get(r->answer.body, "cache"), *space = json_object_get(cache, "space"),
                 *images = json_object_get(cache, "images"), *counters = json_object_get(cache, "counters");
    json_t *troubles = r->answer.ok ? troubles_of(cache) : json_array();
    const char *state = state_of(r, troubles);
    if (!r->answer.ok) {
        const char *const cells[] = {r->host->name, "-", "-", "-", "-", "-", "-", state};
        table_add(t, cells);
    } else {
        struct sums s = {json_number_value(json_object_get(space, "used")), json_number_value(json_object_get(space, "limit")),
                         number(images, "cached"), number(images, "queued"), number(images, "invalid"), number(counters, "hits"),
                         number(counters, "misses"), 0};
        add_row(t, r->host->name, &s, state);
        all->used += s.used;
        all->limit += s.limit;
        all->cached += s.cached;
        all->queued += s.queued;
        all->invalid += s.invalid;
        all->hits += s.hits;
        all->misses += s.misses;
        all->well += json_array_size(troubles) == 0;
    }
    json_decref(troubles);
}

/* Below the table: why. */
static void print_why(const struct result *r)
{
    json_t *troubles = r->answer.ok ? troubles_of(json_object_get(r->answer.body, "cache")) : json_array(), *trouble;
    size_t i;
    if (!r->answer.ok)
        printf("%s: %s\n", r->host->name, failure_of(r));
    json_array_foreach(troubles, i, trouble)
        printf("%s: %s\n", r->host->name, json_string_value(trouble));
    json_decref(troubles);
}

void print_status(const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "Used", "Limit", "Cached", "Queued", "Failed", "Hits", "State"};
    struct sums all = {0};
    char state[48];
    struct table t;
    table_begin(&t, 8, titles, "crrrrrrc");
    for (size_t k = 0; k < count; k++)
        add_host(&t, &results[k], &all);
    snprintf(state, sizeof(state), "%zu of %zu", all.well, count);
    if (count > 1)
        add_row(&t, "all", &all, state);
    table_print(&t, stdout);
    table_free(&t);
    for (size_t k = 0; k < count; k++)
        print_why(&results[k]);
}

/* ---- which hosts have what */

struct entry {
    char *id;
    json_int_t size; /* < 0: nobody says */
    size_t cached;   /* hosts that have all of it */
    char *marks;     /* one a host */
};

struct matrix {
    struct entry *entries;
    size_t count, room, hosts;
};

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->id, ((const struct entry *)b)->id);
}

/* Entries are made one a host and image, and joined when all are there. */
static void note(struct matrix *m, size_t host, const json_t *image, char mark)
{
    if (m->count == m->room) {
        size_t room = m->room == 0 ? 256 : 2 * m->room;
        struct entry *bigger = realloc(m->entries, room * sizeof(*bigger));
        if (bigger == NULL)
            return;
        m->entries = bigger;
        m->room = room;
    }
    const json_t *size = json_object_get(image, "size");
    struct entry e = {.id = strdup(id_of(image)), .size = json_is_integer(size) ? json_integer_value(size) : -1, .cached = mark == '*',
                      .marks = malloc(m->hosts + 1)};
    if (e.id == NULL || e.marks == NULL) {
        free(e.id);
        free(e.marks);
        return;
    }
    memset(e.marks, '.', m->hosts);
    e.marks[m->hosts] = '\0';
    e.marks[host] = mark;
    m->entries[m->count++] = e;
}

static void join(struct matrix *m)
{
    size_t n = 0;
    if (m->count > 0)
        qsort(m->entries, m->count, sizeof(*m->entries), by_id);
    for (size_t i = 0; i < m->count; i++) {
        struct entry *e = &m->entries[i], *last = n > 0 ? &m->entries[n - 1] : NULL;
        if (last == NULL || strcmp(last->id, e->id) != 0) {
            m->entries[n++] = *e;
            continue;
        }
        for (size_t h = 0; h < m->hosts; h++) {
            if (e->marks[h] != '.' && last->marks[h] != '*') /* what is cached and queued again is cached */
                last->marks[h] = e->marks[h];
        }
        last->cached += e->cached;
        last->size = last->size < 0 ? e->size : last->size;
        free(e->id);
        free(e->marks);
    }
    m->count = n;
}

static void collect(struct matrix *m, const struct result *results)
{
    static const struct { const char *list; char mark; } all[] = {{"queued", 'q'}, {"incomplete", '+'}, {"invalid", '!'}, {"cached", '*'}};
    const json_t *image;
    size_t i;
    for (size_t h = 0; h < m->hosts; h++) {
        for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++) {
            json_array_foreach(lists_of(&results[h], all[k].list), i, image)
                note(m, h, image, all[k].mark);
        }
    }
    join(m);
    for (size_t h = 0; h < m->hosts; h++) {
        for (size_t k = 0; !results[h].answer.ok && k < m->count; k++)
            m->entries[k].marks[h] = '?';
    }
}

/* A server tells so many of each list and no more. */
static void warn_of_cuts(const struct result *results, size_t count, const char *list)
{
    for (size_t k = 0; k < count; k++) {
        const json_t *most = json_object_get(results[k].answer.body, "shown_at_most");
        if (results[k].answer.ok && json_is_integer(most) && (json_int_t)json_array_size(lists_of(&results[k], list)) >= json_integer_value(most))
            fprintf(stderr, "%s: it has more than the %" JSON_INTEGER_FORMAT " images that are shown\n", results[k].host->name,
                    json_integer_value(most));
    }
}

static void print_legend(const struct result *results, size_t count)
{
    for (size_t k = 0; k < count; k++)
        printf("%3zu  %s%s\n", k + 1, results[k].host->name, results[k].answer.ok ? "" : "  (does not answer)");
    puts("* cached  + partly here  q queued  ! failed  . not here  ? not known\n");
}

void print_fleet_images(const struct options *o, const struct result *results, size_t count)
{
    static const char *const titles[] = {"ID", "Size", "Cached on", NULL};
    struct matrix m = {.hosts = count};
    struct table t;
    char *header = malloc(count + 1), size[32], on[64];
    collect(&m, results);
    for (size_t h = 0; header != NULL && h <= count; h++)
        header[h] = h == count ? '\0' : (char)('0' + (h + 1) % 10);
    if (m.count == 0) {
        puts("No images.");
    } else {
        if (o->matrix)
            print_legend(results, count);
        const char *const all[] = {titles[0], titles[1], titles[2], header != NULL ? header : ""};
        table_begin(&t, o->matrix ? 4 : 3, all, "crcc");
        for (size_t k = 0; k < m.count; k++) {
            const struct entry *e = &m.entries[k];
            snprintf(size, sizeof(size), "-");
            if (e->size >= 0)
                bytes_text((double)e->size, size, sizeof(size));
            snprintf(on, sizeof(on), "%zu of %zu", e->cached, count);
            table_add(&t, (const char *const[]){e->id, size, on, e->marks});
        }
        table_print(&t, stdout);
        table_free(&t);
    }
    warn_of_cuts(results, count, "cached");
    for (size_t k = 0; k < m.count; k++) {
        free(m.entries[k].id);
        free(m.entries[k].marks);
    }
    free(m.entries);
    free(header);
}

/* ---- lists of one kind */

typedef void row_fn(struct table *t, const char *host, const json_t *image);

static void print_list(const struct result *results, size_t count, const char *list, const char *none, size_t columns, const char *const *titles,
                       const char *align, row_fn *row)
{
    size_t skip = count > 1 ? 0 : 1, i;
    const json_t *image;
    struct table t;
    table_begin(&t, columns - skip, titles + skip, align + skip);
    for (size_t k = 0; k < count; k++) {
        json_array_foreach(lists_of(&results[k], list), i, image)
            row(&t, skip ? NULL : results[k].host->name, image);
    }
    if (t.rows > 0)
        table_print(&t, stdout);
    else if (count > 1 || results[0].answer.ok)
        puts(none);
    table_free(&t);
    warn_of_cuts(results, count, list);
}

static void add_incomplete(struct table *t, const char *host, const json_t *image)
{
    char size[32], here[32], part[16];
    double all = (double)number(image, "size"), bytes = (double)number(image, "bytes_cached");
    bytes_text(all, size, sizeof(size));
    bytes_text(bytes, here, sizeof(here));
    snprintf(part, sizeof(part), "%.0f %%", all > 0 ? bytes * 100 / all : 0);
    const char *const cells[] = {host, id_of(image), here, size, part};
    table_add(t, host != NULL ? cells : cells + 1);
}

void print_incomplete(const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "ID", "Here", "Size", "Part"};
    print_list(results, count, "incomplete", "No incomplete images.", 5, titles, "ccrrr", add_incomplete);
}

static void add_queue(struct table *t, const char *host, const json_t *image)
{
    char part[16] = "-", tries[24];
    double all = (double)number(image, "size");
    if (all > 0)
        snprintf(part, sizeof(part), "%.0f %%", (double)number(image, "bytes_cached") * 100 / all);
    snprintf(tries, sizeof(tries), "%" JSON_INTEGER_FORMAT, number(image, "failed_tries"));
    const char *const cells[] = {host, id_of(image), text_of(image, "state"), part, tries, text_of(image, "error")};
    table_add(t, host != NULL ? cells : cells + 1);
}

void print_queue(const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "ID", "State", "Part", "Failed tries", "Last error"};
    print_list(results, count, "queued", "No queued images.", 6, titles, "cccrrc", add_queue);
}

static void add_invalid(struct table *t, const char *host, const json_t *image)
{
    const char *const cells[] = {host, id_of(image), text_of(image, "reason")};
    table_add(t, host != NULL ? cells : cells + 1);
}

void print_invalid(const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "ID", "Reason"};
    print_list(results, count, "invalid", "No image failed.", 3, titles, "ccc", add_invalid);
}

/* ---- one image */

static const json_t *find(const struct result *r, const char *list, const char *id)
{
    const json_t *image;
    size_t i;
    json_array_foreach(lists_of(r, list), i, image) {
        if (strcmp(id_of(image), id) == 0)
            return image;
    }
    return NULL;
}

static void add_show(struct table *t, const struct result *r, const char *id)
{
    char size[32] = "-", hits[24] = "-", read[40] = "-";
    const json_t *cached = find(r, "cached", id), *partly = find(r, "incomplete", id), *queued = find(r, "queued", id),
                 *invalid = find(r, "invalid", id), *any = cached != NULL ? cached : partly != NULL ? partly : queued;
    const char *state = !r->answer.ok ? "not known" : cached != NULL ? (json_is_true(json_object_get(cached, "pinned")) ? "cached, pinned" : "cached")
        : invalid != NULL ? "failed" : partly != NULL ? "incomplete" : queued != NULL ? "queued" : "not here";
    if (json_is_integer(json_object_get(any, "size")))
        bytes_text((double)number(any, "size"), size, sizeof(size));
    if (cached != NULL) {
        snprintf(hits, sizeof(hits), "%" JSON_INTEGER_FORMAT, number(cached, "hits"));
        table_time(json_number_value(json_object_get(cached, "last_accessed")), read);
        read[strcspn(read, ".")] = '\0';
    }
    const char *why = invalid != NULL ? text_of(invalid, "reason") : queued != NULL ? text_of(queued, "error") : "";
    const char *const cells[] = {r->host->name, id, state, size, hits, read, why};
    table_add(t, cells);
}

void print_show(const struct options *o, const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "ID", "State", "Size", "Hits", "Last read (UTC)", "Why"};
    struct table t;
    table_begin(&t, 7, titles, "cccrrcc");
    for (int i = 1; i < o->argument_count; i++) {
        for (size_t k = 0; k < count; k++)
            add_show(&t, &results[k], o->arguments[i]);
    }
    table_print(&t, stdout);
    table_free(&t);
    warn_of_cuts(results, count, "cached");
}
