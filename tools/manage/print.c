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
        printf("Not authorized to make this request.\n"), fprintf(stderr, "%s\n", r->answer.message);
    else
        printf("Failed to %s. Got error:\n%s\n", c->action, r->answer.message);
}

static void number_text(const struct command *c, const struct answer *a, char *ret, size_t size)
{
    const json_t *n = c->number != NULL ? json_object_get(a->body, c->number) : NULL;
    snprintf(ret, size, "%" JSON_INTEGER_FORMAT, json_integer_value(n));
}

/* ---- lists of images */

static void add_cached(const struct options *o, struct table *t, const char *host, const json_t *image)
{
    char accessed[40] = "N/A", modified[40], size[32], hits[32];
    double last = json_number_value(json_object_get(image, "last_accessed"));
    const char *id = json_string_value(json_object_get(image, "image_id"));
    if (last > 0)
        table_time(last, accessed);
    table_time(json_number_value(json_object_get(image, "last_modified")), modified);
    snprintf(size, sizeof(size), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(image, "size")));
    if (o->human)
        bytes_text((double)json_integer_value(json_object_get(image, "size")), size, sizeof(size));
    snprintf(hits, sizeof(hits), "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(image, "hits")));
    const char *const cells[] = {host, id != NULL ? id : "", accessed, modified, size, hits};
    table_add(t, host != NULL ? cells : cells + 1);
}

static void add_queued(const struct options *o, struct table *t, const char *host, const json_t *image)
{
    (void)o;
    const char *id = json_string_value(image);
    const char *const cells[] = {host, id != NULL ? id : ""};
    table_add(t, host != NULL ? cells : cells + 1);
}

static void print_images(const struct options *o, const struct command *c, const struct result *results, size_t count, bool several)
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
            (c->kind == CACHED ? add_cached : add_queued)(o, &t, several ? results[k].host->name : NULL, image);
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

/* ---- changes */

/* TEXT, cut so that the table with the other columns as wide as OTHERS fits the terminal. The whole of what failed goes to standard error. */
static const char *fitted(const struct result *r, const char *text, size_t others, char *ret, size_t size)
{
    size_t room = terminal_width() > others + 24 ? terminal_width() - others : 24, length = 0, used = 0;
    if (text_width(text) <= room)
        return text;
    for (; used + 1 < room; used++) {
        length++;
        while (((unsigned char)text[length] & 0xc0) == 0x80)
            length++;
    }
    snprintf(ret, size, "%.*s~", (int)length, text);
    if (!r->answer.ok)
        fprintf(stderr, "%s: %s\n", r->host->name, text);
    return ret;
}

static void print_changes(const struct command *c, const struct result *results, size_t count, bool several, bool verbose)
{
    static const char *const titles[] = {"Host", "ID", "Result"};
    bool ids = c->ids == IDS_PATH;
    char number[32], text[512], cut[512];
    size_t wide[2] = {0, 0};
    struct table t;
    for (size_t k = 0; k < count; k++) {
        wide[0] = text_width(results[k].host->name) > wide[0] ? text_width(results[k].host->name) : wide[0];
        wide[1] = ids && text_width(results[k].id) > wide[1] ? text_width(results[k].id) : wide[1];
    }
    table_begin(&t, ids ? 3 : 2, ids ? titles : (const char *const[]){"Host", "Result"}, "ccc");
    for (size_t k = 0; k < count; k++) {
        const struct result *r = &results[k];
        number_text(c, &r->answer, number, sizeof(number));
        command_text(c->done, r->id != NULL ? r->id : number, text, sizeof(text));
        const char *result = r->answer.ok ? text : failure_of(r);
        if (several)
            result = fitted(r, result, wide[0] + wide[1] + (ids ? 10 : 7), cut, sizeof(cut));
        const char *const all[] = {r->host->name, r->id, result}, *const two[] = {r->host->name, result};
        table_add(&t, ids ? all : two);
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
        if (r->id != NULL) {
            json_object_set_new(one, "image", json_string(r->id));
            json_object_set_new(one, "image_id", json_string(r->id));
        }
        json_object_set_new(one, r->answer.ok ? "result" : "error", r->answer.ok ? json_incref(r->answer.body != NULL ? r->answer.body
                                                                                               : json_null())
                                                                                 : json_string(r->answer.message));
        json_array_append_new(list, one);
    }
    json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(16));
    puts("");
    json_decref(list);
}

static void print_kind(const struct options *o, const struct command *c, const struct result *results, size_t count, bool several, bool failed)
{
    switch (c->kind) {
    case CHANGE:
        print_changes(c, results, count, several, o->verbose);
        break;
    case STATE:
        print_status(results, count);
        break;
    case IMAGES:
        print_fleet_images(o, results, count);
        break;
    case INCOMPLETE:
        print_incomplete(results, count);
        break;
    case QUEUE:
        print_queue(results, count);
        break;
    case INVALID:
        print_invalid(results, count);
        break;
    case SHOW:
        print_show(o, results, count);
        break;
    case CACHED:
    case QUEUED:
        if (several || !failed)
            print_images(o, c, results, count, several);
        break;
    }
}

int print_results(const struct options *o, const struct command *c, const struct result *results, size_t count)
{
    bool several = o->host_count > 1, failed = false, done = false;
    for (size_t k = 0; k < count; k++) {
        failed |= !results[k].answer.ok;
        done |= results[k].answer.ok;
        if (results[k].answer.ok || o->json)
            continue;
        if (!several && c->kind != STATE)
            print_failure(c, &results[k]);
        else if (c->kind != CHANGE && c->kind != STATE) /* which have a row for it */
            fprintf(stderr, "%s: %s\n", results[k].host->name, failure_of(&results[k]));
    }
    if (o->json)
        print_json(results, count);
    else
        print_kind(o, c, results, count, several, failed);
    return !failed ? SUCCESS : done ? PARTLY : FAILURE;
}
