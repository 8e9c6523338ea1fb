/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands. Each is one request to each host, or one for each image and host: hosts at once, the images of a host one after another.
 */
#include "config-auto.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "manage/manage.h"

static const struct command COMMANDS[] = {
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

/* ---- running */

static int agreed(const struct options *o, const struct command *c)
{
    char question[512];
    for (int i = 1; !o->force && c->question != NULL && i < (c->takes_id ? o->argument_count : 2); i++) {
        command_text(c->question, c->takes_id ? o->arguments[i] : "", question, sizeof(question));
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
    }
    ask(o, c, results, o->host_count, ids);
    int code = print_results(o, c, results, count);
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
