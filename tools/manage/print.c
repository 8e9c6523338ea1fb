/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What came back, printed: a list of images, a status, or just whether it was done. With one host, it is what Glance's program prints; with
 * several, tables have a column Host.
 */
#include "config-auto.h"

#include <inttypes.h>
#include <string.h>

#include "manage/manage.h"

void command_text(const char *format, const char *text, char *ret, size_t size)
{
    const char *place = strstr(format, "%s");
    if (place == NULL)
        snprintf(ret, size, "%s", format);
    else
        snprintf(ret, size, "%.*s%s%s", (int)(place - format), format, text, place + 2);
}

static void print_failure(const struct command *c, const struct result *r)
{
    if (r->answer.status == 404 && !r->answer.ours)
        printf("Cache management middleware not enabled on host %s\n", r->host->name);
    else if (r->answer.status == 403)
        printf("Not authorized to make this request.\n");
    else
        printf("Failed to %s. Got error:\n%s\n", c->action, r->answer.message);
}

static const char *failure_of(const struct result *r)
{
    return r->answer.status == 404 && !r->answer.ours ? "cache management is not enabled" : r->answer.message;
}

static void number_text(const struct command *c, const struct answer *a, char *ret, size_t size)
{
    const json_t *n = c->number != NULL ? json_object_get(a->body, c->number) : NULL;
    snprintf(ret, size, "%" JSON_INTEGER_FORMAT, json_integer_value(n));
}

/* ---- lists of images */

static void add_cached(struct table *t, const char *host, const json_t *image)
{
    char accessed[40] = "N/A", modified[40], size[32], hits[32];
    double last = json_number_value(json_object_get(image, "last_accessed"));
    const char *id = json_string_value(json_object_get(image, "image_id"));
    if (last > 0)
        table_time(last, accessed);
    table_time(json_number_value(json_object_get(image, "last_modified")), modified);
    snprintf(size, sizeof(size), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(image, "size")));
    snprintf(hits, sizeof(hits), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(image, "hits")));
    const char *const cells[] = {host, id != NULL ? id : "", accessed, modified, size, hits};
    table_add(t, host != NULL ? cells : cells + 1);
}

static void add_queued(struct table *t, const char *host, const json_t *image)
{
    const char *id = json_string_value(image);
    const char *const cells[] = {host, id != NULL ? id : ""};
    table_add(t, host != NULL ? cells : cells + 1);
}

static void print_images(const struct command *c, const struct result *results, size_t count, bool several)
{
    static const char *const cached[] = {"Host", "ID", "Last Accessed (UTC)", "Last Modified (UTC)", "Size", "Hits"};
    static const char *const queued[] = {"Host", "ID"};
    const char *key = c->kind == CACHED ? "cached_images" : "queued_images", *word = c->kind == CACHED ? "cached" : "queued";
    size_t skip = several ? 0 : 1, found = 0, i;
    struct table t;
    json_t *image;
    table_begin(&t, (c->kind == CACHED ? 6 : 2) - skip, (c->kind == CACHED ? cached : queued) + skip, &"ccccrr"[skip]);
    for (size_t k = 0; k < count; k++) {
        json_array_foreach(json_object_get(results[k].answer.body, key), i, image) {
            (c->kind == CACHED ? add_cached : add_queued)(&t, several ? results[k].host->name : NULL, image);
            found++;
        }
    }
    if (found == 0) {
        printf("No %s images.\n", word);
    } else {
        printf("Found %zu %s images...\n", found, word);
        table_print(&t, stdout);
    }
    table_free(&t);
}

/* ---- status */

static void size_text(double n, char *ret, size_t size)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    unsigned i = 0;
    for (; n >= 1024 && i < 5; i++)
        n /= 1024;
    snprintf(ret, size, i == 0 ? "%.0f %s" : "%.1f %s", n, units[i]);
}

static void print_status(const struct result *results, size_t count)
{
    static const char *const titles[] = {"Host", "Used", "Limit", "Cached", "Incomplete", "Queued", "Failed", "Hits", "Misses", "Fetching"};
    static const struct { const char *group, *key; } numbers[] = {
        {"images", "cached"}, {"images", "incomplete"}, {"images", "queued"}, {"images", "invalid"}, {"counters", "hits"},
        {"counters", "misses"},
    };
    struct table t;
    table_begin(&t, 10, titles, "crrrrrrrrr");
    for (size_t k = 0; k < count; k++) {
        char text[10][48];
        const char *cells[10];
        const json_t *cache = json_object_get(results[k].answer.body, "cache"), *space = json_object_get(cache, "space");
        if (!results[k].answer.ok)
            continue;
        size_text(json_number_value(json_object_get(space, "used")), text[1], sizeof(text[1]));
        size_text(json_number_value(json_object_get(space, "limit")), text[2], sizeof(text[2]));
        for (size_t i = 0; i < 6; i++)
            snprintf(text[3 + i], sizeof(text[0]), "%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(json_object_get(cache, numbers[i].group), numbers[i].key)));
        snprintf(text[9], sizeof(text[9]), "%zu", json_array_size(json_object_get(cache, "fetches")));
        for (size_t i = 1; i < 10; i++)
            cells[i] = text[i];
        cells[0] = results[k].host->name;
        table_add(&t, cells);
    }
    if (t.rows > 0)
        table_print(&t, stdout);
    table_free(&t);
}

/* ---- changes */

static void print_changes(const struct command *c, const struct result *results, size_t count, bool several, bool verbose)
{
    static const char *const titles[] = {"Host", "ID", "Result"};
    char number[32], text[512];
    struct table t;
    table_begin(&t, 3, titles, "ccc");
    for (size_t k = 0; k < count; k++) {
        const struct result *r = &results[k];
        number_text(c, &r->answer, number, sizeof(number));
        command_text(c->done, r->id != NULL ? r->id : number, text, sizeof(text));
        const char *const cells[] = {r->host->name, r->id != NULL ? r->id : "", r->answer.ok ? text : failure_of(r)};
        table_add(&t, cells);
        if (!several && r->answer.ok && verbose)
            puts(text);
    }
    if (several)
        table_print(&t, stdout);
    table_free(&t);
}

static void print_json(const struct result *results, size_t count)
{
    json_t *list = json_array();
    for (size_t k = 0; k < count; k++) {
        const struct result *r = &results[k];
        json_t *one = json_pack("{s:s, s:b, s:I}", "host", r->host->name, "ok", r->answer.ok, "status", (json_int_t)r->answer.status);
        if (r->id != NULL)
            json_object_set_new(one, "image_id", json_string(r->id));
        json_object_set_new(one, r->answer.ok ? "result" : "error", r->answer.ok ? json_incref(r->answer.body != NULL ? r->answer.body
                                                                                               : json_null())
                                                                                 : json_string(r->answer.message));
        json_array_append_new(list, one);
    }
    json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(16));
    puts("");
    json_decref(list);
}

int print_results(const struct options *o, const struct command *c, const struct result *results, size_t count)
{
    bool several = o->host_count > 1, failed = false;
    for (size_t k = 0; k < count; k++) {
        failed |= !results[k].answer.ok;
        if (results[k].answer.ok || o->json)
            continue;
        if (!several)
            print_failure(c, &results[k]);
        else if (c->kind != CHANGE)
            fprintf(stderr, "%s: %s\n", results[k].host->name, failure_of(&results[k]));
    }
    if (o->json)
        print_json(results, count);
    else if (c->kind == CHANGE)
        print_changes(c, results, count, several, o->verbose);
    else if (c->kind == STATE)
        print_status(results, count);
    else if (several || !failed)
        print_images(c, results, count, several);
    return failed ? FAILURE : SUCCESS;
}
