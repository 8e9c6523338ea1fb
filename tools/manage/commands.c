/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands. Each is one request to each host, or one for each image and host: hosts at once, the images of a host one after another.
 */
#include "config-auto.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "manage/manage.h"

static const struct command *find(const char *name)
{
    const struct command *c = command_find(name);
    if (c != NULL)
        return c;
    printf("\nError: \"%s\" is not a valid command.\n\nCommands:\n\n", name);
    commands_list(stdout);
    fflush(stdout);
    fprintf(stderr, "Unknown command: %s\n", name);
    return NULL;
}

/* ---- questions */

/* 1: yes; 0: no; -1: there is nobody to ask. TO: standard error where standard output is for JSON. */
static int confirm(const char *question, FILE *to)
{
    char answer[64];
    fprintf(to, "%s [y/N] ", question);
    fflush(to);
    if (fgets(answer, sizeof(answer), stdin) == NULL) {
        fputs("\n", to);
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
    bool each = c->ids == IDS_PATH;
    for (int i = 1; !o->force && c->question != NULL && i < (each ? o->argument_count : 2); i++) {
        command_text(c->question, each ? o->arguments[i] : "", question, sizeof(question));
        int answer = confirm(question, o->json ? stderr : stdout);
        if (answer <= 0)
            return answer;
    }
    return 1;
}

/* Are there as many arguments as C takes? */
static bool arguments_fit(const struct options *o, const struct command *c)
{
    bool wants = c->ids == IDS_PATH || c->ids == IDS_FILTER;
    if (wants ? o->argument_count >= 2 : o->argument_count <= (c->ids == IDS_NUMBER ? 2 : 1))
        return true;
    printf(wants ? "Please specify the ID of the image you wish for command '%s' from the cache.\n"
           : c->ids == IDS_NUMBER ? "Command '%s' takes one number of seconds.\n" : "Command '%s' takes no arguments.\n", c->name);
    return false;
}

static int run(struct options *o, const struct command *c)
{
    bool each = c->ids == IDS_PATH;
    size_t ids = each ? (size_t)o->argument_count - 1 : 1, count = ids * o->host_count;
    int yes = agreed(o, c);
    if (yes <= 0)
        return yes < 0 ? FAILURE : SUCCESS;
    struct result *results = calloc(count, sizeof(*results));
    if (results == NULL)
        return FAILURE;
    for (size_t k = 0; k < count; k++) {
        results[k].host = &o->hosts[k / ids];
        results[k].id = each ? o->arguments[1 + k % ids] : NULL;
    }
    ask(o, c, results, o->host_count, ids);
    int code = print_results(o, c, results, count);
    for (size_t k = 0; k < count; k++)
        answer_clear(&results[k].answer);
    free(results);
    return code;
}

/* Over what stood there before, until a signal ends us. */
static int watch(struct options *o, const struct command *c)
{
    char *end = NULL;
    const char *text = o->argument_count > 1 ? o->arguments[1] : "2";
    long seconds = strtol(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || seconds < 1 || seconds > 86400) {
        fprintf(stderr, "glance-cache-manage: watch: not a number of seconds: %s (see --help)\n", text);
        return FAILURE;
    }
    bool terminal = isatty(STDOUT_FILENO);
    for (;;) {
        char now[64];
        time_t t = time(NULL);
        struct tm tm;
        localtime_r(&t, &tm);
        strftime(now, sizeof(now), "%F %T", &tm);
        printf("%s%s\n", terminal ? "\033[H\033[2J" : "", now);
        run(o, c);
        if (fflush(stdout) != 0)
            return FAILURE;
        sleep((unsigned)seconds);
    }
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
        printf("glance-cache-manage %s%s [options]\n\n    %s.\n", c->name,
               c->ids == IDS_NUMBER ? " [SECONDS]" : c->ids != IDS_NONE ? " <IMAGE_ID>" : "", c->help);
        return SUCCESS;
    }
    if (!arguments_fit(o, c))
        return FAILURE;
    if (c->ids == IDS_NUMBER)
        return watch(o, c);
    clock_gettime(CLOCK_MONOTONIC, &begin);
    int code = run(o, c);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (o->verbose && !o->json)
        printf("Completed in %.4f sec.\n", (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9);
    return code;
}
