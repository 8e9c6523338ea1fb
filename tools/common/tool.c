/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of a program, or one every so often.
 *
 * State: what the command line said, set before the first run; `stopping` and `again`, set by signal handlers. The signals are
 * blocked but while tool_sleep() sleeps and while a run reads, so that none is missed between a look at `stopping` and a sleep.
 */
#include "config-auto.h"

#include "common/tool.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/version.h"
#include "common/progress.h"

enum { SIZE_LEAST = 1 << 20 }; /* bytes; less without a unit is a unit forgotten */
enum { OWN_FIRST = 1000, OPTIONS_MAX = 24, INTERVAL_MAX = 10 * 365 * 86400 };

enum { LEVEL_UNSAID = -1 };

struct settings {
    const char *config_file, *mount;
    char *told; /* the mount that was named in the log */
    uint64_t interval; /* seconds; 0: one run */
    int level;         /* of -v and -q */
    bool dry_run, json;
    bool help, version;
};

static const struct tool_option common[] = {
    {"config-file", "FILE", "the configuration; else that of the mount"},
    {"mount", "DIR", "where the cache is mounted; else that of --config-file, or the\nonly mount there is"},
    {"dry-run", NULL, "-n: say what would be done, and do nothing"},
    {"json", NULL, "print a report as one JSON document"},
    {"interval", "SECONDS", "go on, with a run every so often"},
    {"verbose", NULL, "-v: say more: each image; also -d, --debug"},
    {"debug", NULL, NULL},
    {"quiet", NULL, "-q: say only what is wrong"},
    {"help", NULL, "-h: print this"},
    {"version", NULL, "-V: print the version"},
};
enum { COMMON_COUNT = sizeof(common) / sizeof(common[0]) };
static const char *const letters = "nvdqhV";

static volatile sig_atomic_t stopping, again;

/* ---- signals */

static void on_signal(int number)
{
    if (number == SIGHUP)
        again = 1;
    else
        stopping = 1;
}

static const int ending_signals[] = {SIGTERM, SIGINT, SIGHUP};
enum { SIGNAL_COUNT = sizeof(ending_signals) / sizeof(ending_signals[0]) };

static void catch_signals(bool hup)
{
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: a blocked call ends */
    for (size_t i = 0; i < SIGNAL_COUNT; i++) {
        if (ending_signals[i] != SIGHUP || hup)
            sigaction(ending_signals[i], &action, NULL);
    }
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

bool tool_stopping(void)
{
    return stopping != 0;
}

/* Sleeps until the deadline; with WAKES, SIGHUP ends it, too. */
static void sleep_until(int64_t deadline, bool wakes)
{
    sigset_t block, before;
    sigemptyset(&block);
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        sigaddset(&block, ending_signals[i]);
    sigprocmask(SIG_BLOCK, &block, &before);
    for (int64_t left; (left = deadline - clock_monotonic()) > 0 && !stopping && !(wakes && again);) {
        struct timespec t = {.tv_sec = left / NS_PER_S, .tv_nsec = left % NS_PER_S};
        ppoll(NULL, 0, &t, &before);
    }
    sigprocmask(SIG_SETMASK, &before, NULL);
}

void tool_sleep(int64_t ns)
{
    sleep_until(clock_monotonic() + ns, false);
}

/* ---- the command line */

int tool_take_size(const char *name, const char *value, uint64_t *ret)
{
    uint64_t size;
    if (config_parse_size(value, &size) < 0) {
        log_error("--%s takes a number of bytes, as 500M or 10G, not '%s'", name, value);
        return -EINVAL;
    }
    if (size > 0 && size < SIZE_LEAST && strspn(value, "0123456789") == strlen(value)) {
        log_error("--%s %s would be %s bytes: write a unit behind it, as in %sG", name, value, value, value);
        return -EINVAL;
    }
    *ret = size;
    return 0;
}

int tool_take_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *ret)
{
    char *end;
    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || n < min || n > max) {
        log_error("--%s takes a number from %" PRIu64 " to %" PRIu64 ", not '%s'", name, min, max, value);
        return -EINVAL;
    }
    *ret = n;
    return 0;
}

static int take_common(struct settings *s, const char *name, const char *value)
{
    if (strcmp(name, "config-file") == 0)
        s->config_file = value;
    else if (strcmp(name, "mount") == 0)
        s->mount = value;
    else if (strcmp(name, "dry-run") == 0)
        s->dry_run = true;
    else if (strcmp(name, "json") == 0)
        s->json = true;
    else if (strcmp(name, "interval") == 0)
        return tool_take_number(name, value, 1, INTERVAL_MAX, &s->interval);
    else if (strcmp(name, "verbose") == 0 || strcmp(name, "debug") == 0)
        s->level = LOG_DEBUG;
    else if (strcmp(name, "quiet") == 0)
        s->level = LOG_WARNING;
    else if (strcmp(name, "help") == 0)
        s->help = true;
    else if (strcmp(name, "version") == 0)
        s->version = true;
    return 0;
}

static const char *name_of_letter(int letter)
{
    switch (letter) {
    case 'n':
        return "dry-run";
    case 'v':
    case 'd': /* as Glance's programs call it */
        return "verbose";
    case 'q':
        return "quiet";
    case 'h':
        return "help";
    case 'V':
        return "version";
    default:
        return NULL;
    }
}

static int take(const struct tool *tool, struct settings *s, int option, const char *value)
{
    size_t i = (size_t)(option - OWN_FIRST);
    if (option < OWN_FIRST) {
        const char *name = name_of_letter(option);
        return name == NULL ? -EINVAL : take_common(s, name, value);
    }
    return i < COMMON_COUNT ? take_common(s, common[i].name, value)
                            : tool->take_option(tool->options[i - COMMON_COUNT].name, value);
}

static int parse(const struct tool *tool, int argc, char **argv, struct settings *ret)
{
    struct option long_options[OPTIONS_MAX] = {0};
    struct settings s = {.level = LEVEL_UNSAID};
    size_t n = 0;
    int option, r = 0;

    for (size_t i = 0; i < COMMON_COUNT + tool->option_count && n + 1 < OPTIONS_MAX; i++) {
        const struct tool_option *o = i < COMMON_COUNT ? &common[i] : &tool->options[i - COMMON_COUNT];
        long_options[n++] = (struct option){o->name, o->argument != NULL ? required_argument : no_argument, NULL,
                                            OWN_FIRST + (int)i};
    }
    while (r == 0 && (option = getopt_long(argc, argv, letters, long_options, NULL)) != -1) {
        r = option == '?' ? -EINVAL : take(tool, &s, option, optarg);
        if (option == '?')
            fprintf(stderr, "Try %s --help.\n", tool->name);
    }
    if (r == 0 && optind < argc && tool->take_operands == NULL && !s.help && !s.version) {
        fprintf(stderr, "%s: '%s' is more than it takes\nTry %s --help.\n", tool->name, argv[optind], tool->name);
        r = -EINVAL;
    }
    if (r == 0 && tool->take_operands != NULL)
        tool->take_operands(argv + optind, (size_t)(argc - optind));
    *ret = s;
    return r;
}

static void print_option(const struct tool_option *o)
{
    enum { COLUMN = 26 };
    char left[64];
    const char *text = o->text;
    if (text == NULL) /* another name, told with the one above */
        return;
    const char *letter = text[0] == '-' ? text : NULL;
    snprintf(left, sizeof(left), "  %.2s%s --%s%s%s", letter != NULL ? letter : "  ", letter != NULL ? "," : " ", o->name,
             o->argument != NULL ? " " : "", o->argument != NULL ? o->argument : "");
    if (letter != NULL)
        text += strlen("-v: ");
    printf("%-*s", COLUMN, left);
    for (;;) {
        int length = (int)strcspn(text, "\n");
        printf(" %.*s\n", length, text);
        if (text[length] == '\0')
            break;
        text += length + 1;
        printf("%*s", COLUMN, "");
    }
}

static void help(const struct tool *tool)
{
    printf("Usage: %s [OPTION ...]%s\n\n%s\n\n", tool->name, tool->operands, tool->purpose);
    for (size_t i = 0; i < tool->option_count; i++)
        print_option(&tool->options[i]);
    for (size_t i = 0; i < COMMON_COUNT; i++)
        print_option(&common[i]);
    printf("\n%s\n", tool->exits);
}

/* ---- runs */

void tool_report(const struct tool_run *run, const char *name, json_t *item)
{
    if (run->report == NULL) {
        json_decref(item);
        return;
    }
    json_t *list = json_object_get(run->report, name);
    if (list == NULL) {
        list = json_array();
        json_object_set_new(run->report, name, list);
    }
    json_array_append_new(list, item);
}

/* What --config-file names must be good; that of the mount may be out of our reach. */
static int load_config(const struct settings *s, const struct cache_mount *mount, struct config **ret)
{
    char message[CONFIG_MESSAGE_MAX];
    const char *path = s->config_file != NULL ? s->config_file : mount->source;
    *ret = NULL;
    if (path[0] != '/' && s->config_file == NULL)
        return 0;
    int r = config_load(path, ret, message);
    if (r == 0)
        return 0;
    *ret = NULL;
    if (s->config_file == NULL) {
        log_debug("going on with what %s/.status says: %s", mount->path, message);
        return 0;
    }
    log_error("%s", message);
    return r;
}

/* Returns the level that lines are logged at. */
static int set_level(const struct settings *s, const struct config *config)
{
    int level = s->level != LEVEL_UNSAID ? s->level : config != NULL ? log_level_by_name(config->log_level) : LOG_INFO;
    log_set_level(level);
    return level;
}

static void print_report(json_t *report, bool compact)
{
    if (report == NULL)
        return;
    json_dumpf(report, stdout, JSON_PRESERVE_ORDER | (compact ? JSON_COMPACT : JSON_INDENT(2)) | JSON_REAL_PRECISION(16));
    fputc('\n', stdout);
    fflush(stdout);
}

static json_t *begin_report(const struct tool *tool, const struct cache_mount *mount, bool dry_run)
{
    json_t *report = json_pack("{s:s, s:s, s:b}", "program", tool->name, "mount", mount->path, "dry_run", dry_run);
    for (const char *const *name = tool->lists; report != NULL && *name != NULL; name++)
        json_object_set_new(report, *name, json_array());
    return report;
}

/* On which mount this works: where nobody named it, it was found. Once, unless it is another one. */
static void tell_mount(struct settings *s, const struct cache_mount *mount)
{
    if (s->told != NULL && strcmp(s->told, mount->path) == 0)
        return;
    free(s->told);
    s->told = strdup(mount->path);
    log_info("on %s", mount->path);
}

static enum tool_exit run_once(const struct tool *tool, struct settings *s)
{
    struct cache_mount mount = {.fd = -1};
    struct config *config = NULL;
    enum tool_exit code = TOOL_FAILED;

    if (find_mount(s->mount, s->config_file, &mount) < 0)
        return TOOL_FAILED;
    if (load_config(s, &mount, &config) == 0) {
        struct tool_run run = {.mount = &mount, .config = config, .dry_run = s->dry_run};
        run.verbose = set_level(s, config) >= LOG_DEBUG;
        tell_mount(s, &mount);
        if (s->json)
            run.report = begin_report(tool, &mount, s->dry_run);
        code = tool->run(&run);
        progress_clear();
        if (s->json)
            json_object_set_new(run.report, "exit", json_integer(code));
        print_report(run.report, s->interval > 0);
        json_decref(run.report);
    }
    config_free(config);
    cache_mount_close(&mount);
    return code;
}

/* Until a signal says it is enough. That the cache is not mounted is fatal at the start only. */
static enum tool_exit run_always(const struct tool *tool, struct settings *s)
{
    char text[96];
    enum tool_exit code = run_once(tool, s);
    if (code == TOOL_FAILED && !tool_stopping())
        return code;
    notify_tell("READY=1");
    while (!tool_stopping()) {
        snprintf(text, sizeof(text), "STATUS=The last run %s; the next is in %" PRIu64 " s",
                 code == TOOL_DONE ? "did all there was to do" : code == TOOL_PARTLY ? "could not do all" : "failed", s->interval);
        notify_tell(text);
        sleep_until(clock_monotonic() + (int64_t)s->interval * NS_PER_S, true);
        if (tool_stopping())
            break;
        notify_tell("STATUS=At work");
        again = 0; /* what comes during the run has the next one begin at once: it may have been too late for this one */
        code = run_once(tool, s);
    }
    notify_tell("STOPPING=1");
    return TOOL_DONE;
}

static int finish_output(enum tool_exit code)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return code;
    log_errno(-errno, "writing to standard output");
    return TOOL_FAILED;
}

int tool_main(int argc, char **argv, const struct tool *tool)
{
    struct settings s;
    if (parse(tool, argc, argv, &s) < 0)
        return TOOL_FAILED;
    if (s.help) {
        help(tool);
        return finish_output(TOOL_DONE);
    }
    if (s.version) {
        version_print(tool->name);
        return finish_output(TOOL_DONE);
    }
    if (s.level != LEVEL_UNSAID)
        log_set_level(s.level);
    if (s.level == LOG_WARNING)
        progress_refuse();
    catch_signals(s.interval > 0);
    enum tool_exit code = s.interval > 0 ? run_always(tool, &s) : run_once(tool, &s);
    free(s.told);
    return finish_output(code);
}
