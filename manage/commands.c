/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands. Each is one request to each host, or one for each image and host; what is printed depends on the kind: a list of images, a
 * status, or just whether it was done. With one host, output is what Glance's program prints; with several, tables have a column Host.
 */
#include "config-auto.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "manage.h"

enum kind { CACHED, QUEUED, STATE, CHANGE };

static const struct command {
    const char *name;
    enum kind kind;
    bool takes_id;
    const char *method, *path, *behind; /* the id stands between */
    const char *action;  /* "Failed to …" */
    const char *question; /* with %s for the id; NULL: none */
    const char *done;    /* with -v; %s: the id or the number */
    const char *number;  /* the key of the number in the answer */
    const char *help;
} COMMANDS[] = {
    {"list-cached", CACHED, false, "GET", "/v2/cached_images", "", "show cached images", NULL, NULL, NULL,
     "List all images currently cached"},
    {"list-queued", QUEUED, false, "GET", "/v2/queued_images", "", "show queued images", NULL, NULL, NULL,
     "List all images currently queued for caching"},
    {"queue-image", CHANGE, true, "PUT", "/v2/queued_images/", "", "queue the specified image for caching",
     "Queue image %s for caching?", "Queued image %s for caching", NULL, "Queue an image for caching"},
    {"delete-cached-image", CHANGE, true, "DELETE", "/v2/cached_images/", "", "delete the specified cached image",
     "Delete cached image %s?", "Deleted cached image %s", NULL, "Purges an image from the cache"},
    {"delete-all-cached-images", CHANGE, false, "DELETE", "/v2/cached_images", "", "Delete all cached images",
     "Delete all cached images?", "Deleted %s cached images", "num_deleted", "Removes all images from the cache"},
    {"delete-queued-image", CHANGE, true, "DELETE", "/v2/queued_images/", "", "delete the specified queued image",
     "Delete queued image %s?", "Deleted queued image %s", NULL, "Deletes an image from the cache queue"},
    {"delete-all-queued-images", CHANGE, false, "DELETE", "/v2/queued_images", "", "Delete all queued images",
     "Delete all queued images?", "Deleted %s queued images", "num_deleted", "Deletes all images from the cache queue"},
    {"status", STATE, false, "GET", "/status", "", "show the status", NULL, NULL, NULL, "Show how full the cache is and what it does"},
    {"pin", CHANGE, true, "PUT", "/v2/cache/", "/pin", "pin the specified image", NULL, "Pinned image %s", NULL,
     "Keep an image from being evicted to make room"},
    {"unpin", CHANGE, true, "DELETE", "/v2/cache/", "/pin", "unpin the specified image", NULL, "Unpinned image %s", NULL,
     "Let a pinned image be evicted again"},
    {"prune", CHANGE, false, "POST", "/v2/cache/prune", "", "prune the cache", "Prune the cache?", "Pruned %s images",
     "total_files_pruned", "Evict the least recently used images until the cache is within its limit"},
    {"clean", CHANGE, false, "POST", "/v2/cache/clean", "", "clean the cache", "Clean the cache?", "Cleaned", NULL,
     "Remove what failed and what makes no progress"},
};
enum { COMMAND_COUNT = sizeof(COMMANDS) / sizeof(COMMANDS[0]) };

void commands_list(FILE *out)
{
    fprintf(out, "    %-28s%s\n\n", "help <command>", "Output help for one of the commands below");
    for (int i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "    %-28s%s\n\n", COMMANDS[i].name, COMMANDS[i].help);
}

static const struct command *find(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(COMMANDS[i].name, name) == 0)
            return &COMMANDS[i];
    }
    printf("\nError: \"%s\" is not a valid command.\n\nCommands:\n\n", name);
    commands_list(stdout);
    fflush(stdout);
    fprintf(stderr, "Unknown command: %s\n", name);
    return NULL;
}

/* Puts TEXT for the "%s" of FORMAT. */
static void fill(const char *format, const char *text, char *ret, size_t size)
{
    const char *place = strstr(format, "%s");
    if (place == NULL)
        snprintf(ret, size, "%s", format);
    else
        snprintf(ret, size, "%.*s%s%s", (int)(place - format), format, text, place + 2);
}

/* ---- questions */

/* 1: yes; 0: no; -1: there is nobody to ask. */
static int confirm(const char *question)
{
    char answer[64];
    printf("%s [y/N] ", question);
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) == NULL) {
        puts("");
        fputs("glance-cache-manage: nobody answers; use --force where there is no terminal\n", stderr);
        return -1;
    }
    answer[strcspn(answer, "\n")] = '\0';
    return strcasecmp(answer, "y") == 0 || strcasecmp(answer, "yes") == 0;
}

/* ---- what came back */

struct result {
    const struct host *host;
    const char *id; /* NULL: the command takes none */
    struct answer answer;
};

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
        fill(c->done, r->id != NULL ? r->id : number, text, sizeof(text));
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

static int print(const struct options *o, const struct command *c, const struct result *results, size_t count)
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

/* ---- running */

static void ask(struct options *o, const struct command *c, struct result *r)
{
    char *encoded = client_encode(r->id != NULL ? r->id : ""), *path = NULL;
    if (encoded == NULL || asprintf(&path, "%s%s%s", c->path, encoded, c->behind) < 0)
        snprintf(r->answer.message, sizeof(r->answer.message), "out of memory");
    else
        client_call(o, r->host, c->method, path, &r->answer);
    free(encoded);
    free(path);
}

static int agreed(const struct options *o, const struct command *c)
{
    char question[512];
    for (int i = 1; !o->force && c->question != NULL && i < (c->takes_id ? o->argument_count : 2); i++) {
        fill(c->question, c->takes_id ? o->arguments[i] : "", question, sizeof(question));
        int answer = confirm(question);
        if (answer <= 0)
            return answer;
    }
    return 1;
}

static int run(struct options *o, const struct command *c)
{
    size_t ids = c->takes_id ? (size_t)o->argument_count - 1 : 1, count = ids * o->host_count;
    if (c->takes_id ? o->argument_count < 2 : o->argument_count > 1) {
        printf(c->takes_id ? "Please specify the ID of the image you wish for command '%s' from the cache.\n"
                           : "Command '%s' takes no arguments.\n", c->name);
        return FAILURE;
    }
    int yes = agreed(o, c);
    if (yes <= 0)
        return yes < 0 ? FAILURE : SUCCESS;
    struct result *results = calloc(count, sizeof(*results));
    if (results == NULL)
        return FAILURE;
    for (size_t k = 0; k < count; k++) {
        results[k].host = &o->hosts[k / ids];
        results[k].id = c->takes_id ? o->arguments[1 + k % ids] : NULL;
        ask(o, c, &results[k]);
    }
    int code = print(o, c, results, count);
    for (size_t k = 0; k < count; k++)
        answer_clear(&results[k].answer);
    free(results);
    return code;
}

int commands_run(struct options *o)
{
    struct timespec begin, end;
    if (strcmp(o->arguments[0], "help") == 0 && o->argument_count == 1) {
        options_help(stdout);
        return SUCCESS;
    }
    bool help = strcmp(o->arguments[0], "help") == 0;
    const struct command *c = find(o->arguments[help ? 1 : 0]);
    if (c == NULL)
        return FAILURE;
    if (help) {
        printf("glance-cache-manage %s%s [options]\n\n    %s.\n", c->name, c->takes_id ? " <IMAGE_ID>" : "", c->help);
        return SUCCESS;
    }
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int code = run(o, c);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (o->verbose && !o->json)
        printf("Completed in %.4f sec.\n", (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return code;
}
