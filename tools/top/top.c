/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-top(1): what goes on in a cache, on a full screen, once, or as JSON. */
#include "config-auto.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/version.h"
#include "common/find_mount.h"
#include "common/progress.h"
#include "common/troubles.h"
#include "top/look.h"
#include "top/screen.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_DEGRADED = 2, INTERVAL_MOST = 3600 };

struct options {
    const char *mount, *config_file, *url, *token_file, *ca_file;
    unsigned interval; /* seconds */
    bool once, json;
};

struct source {
    const struct options *options;
    char *mount; /* its path, once it was found */
    char *own_token;
    const char *token;
};

static const char usage[] =
    "Usage: glance-cache-top [--mount DIR | --config-file FILE | --url URL] [option ...]\n"
    "\n"
    "Shows what goes on in an image cache: space, backends, what is being fetched, the busiest\n"
    "images, and what failed.\n"
    "\n"
    "      --mount DIR          where the cache is mounted; else that of --config-file, or the only\n"
    "                           mount there is\n"
    "      --config-file FILE   the configuration of the mount\n"
    "      --url URL            ask glance-cache-api there, as in http://host:9292, in place of a mount\n"
    "      --token-file FILE    the token for it; else that of OS_AUTH_TOKEN\n"
    "      --ca-file FILE       trust these authorities in place of the system's\n"
    "      --interval SECONDS   how often to look; 2\n"
    "      --once               print it once, and end\n"
    "      --json               print it once, as one JSON document\n"
    "  -v, --verbose            say more; also -d, --debug\n"
    "  -h, --help               print this\n"
    "  -V, --version            print the version\n"
    "\n"
    "On the screen: q ends it, arrows scroll, a space looks at once.\n"
    "Exit status: 0; 1 when the cache cannot be looked at; with --once and --json, 2 when it is degraded.\n";

/* ---- the command line */

static int take_interval(const char *text, unsigned *ret)
{
    char *end;
    unsigned long seconds = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || seconds < 1 || seconds > INTERVAL_MOST) {
        log_error("--interval: \"%s\" is not a whole number of seconds from 1 to %d", text, INTERVAL_MOST);
        return -EINVAL;
    }
    *ret = (unsigned)seconds;
    return 0;
}

enum { O_MOUNT = 256, O_CONFIG, O_URL, O_TOKEN, O_CA, O_INTERVAL, O_ONCE, O_JSON };

/* 0: go on; otherwise the exit code plus one. */
static int read_options(int argc, char **argv, struct options *o)
{
    static const struct option names[] = {
        {"mount", required_argument, NULL, O_MOUNT}, {"config-file", required_argument, NULL, O_CONFIG},
        {"url", required_argument, NULL, O_URL}, {"token-file", required_argument, NULL, O_TOKEN},
        {"ca-file", required_argument, NULL, O_CA}, {"interval", required_argument, NULL, O_INTERVAL},
        {"once", no_argument, NULL, O_ONCE}, {"json", no_argument, NULL, O_JSON},
        {"verbose", no_argument, NULL, 'v'}, {"debug", no_argument, NULL, 'd'}, {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "vdhV", names, NULL)) != -1) {
        switch (c) {
        case O_MOUNT: o->mount = optarg; break;
        case O_CONFIG: o->config_file = optarg; break;
        case O_URL: o->url = optarg; break;
        case O_TOKEN: o->token_file = optarg; break;
        case O_CA: o->ca_file = optarg; break;
        case O_ONCE: o->once = true; break;
        case O_JSON: o->json = true; break;
        case O_INTERVAL:
            if (take_interval(optarg, &o->interval) < 0)
                return EXIT_FAILED + 1;
            break;
        case 'v':
        case 'd':
            log_set_level(LOG_DEBUG);
            break;
        case 'h':
            fputs(usage, stdout);
            return EXIT_DONE + 1;
        case 'V':
            version_print("glance-cache-top");
            return EXIT_DONE + 1;
        default:
            fputs("Try glance-cache-top --help.\n", stderr);
            return EXIT_FAILED + 1;
        }
    }
    if (optind < argc)
        fprintf(stderr, "glance-cache-top: '%s' is more than it takes\nTry glance-cache-top --help.\n", argv[optind]);
    else if (o->url != NULL && (o->mount != NULL || o->config_file != NULL))
        log_error("--url asks another host, --mount and --config-file name a mount here: give one of them");
    else
        return 0;
    return EXIT_FAILED + 1;
}

/* ---- looking */

static int source_open(struct source *s)
{
    const struct options *o = s->options;
    struct cache_mount found;
    if (o->url == NULL) {
        int r = find_mount(o->mount, o->config_file, &found);
        s->mount = r == 0 ? strdup(found.path) : NULL;
        if (r == 0)
            cache_mount_close(&found);
        return r < 0 ? r : s->mount == NULL ? -ENOMEM : 0;
    }
    s->token = getenv("OS_AUTH_TOKEN");
    if (o->token_file == NULL)
        return 0;
    int r = secret_read(o->token_file, &s->own_token);
    if (r < 0) {
        log_error("--token-file: %s: %s", o->token_file, secret_error(r));
        return r;
    }
    s->token = s->own_token;
    return 0;
}

static void source_close(struct source *s)
{
    free(s->mount);
    secret_free(s->own_token);
}

/* The mount is held open for the look only: it may be unmounted, and come back, between two. */
static int source_look(const struct source *s, json_t **ret)
{
    struct cache_mount mount;
    if (s->options->url != NULL)
        return look_at_url(s->options->url, s->token, s->options->ca_file, ret);
    int r = find_mount(s->mount, NULL, &mount);
    if (r < 0)
        return r;
    r = look_at_mount(&mount, ret);
    cache_mount_close(&mount);
    return r;
}

/* ---- showing */

static int print_once(const struct source *s, struct samples *samples, struct drawing *drawing)
{
    json_t *look = NULL;
    size_t lines, columns;
    if (source_look(s, &look) < 0)
        return EXIT_FAILED;
    json_t *troubles = troubles_of(json_object_get(look, "cache"));
    int code = json_array_size(troubles) == 0 ? EXIT_DONE : EXIT_DEGRADED;
    if (s->options->json) {
        json_object_set_new(look, "program", json_string("glance-cache-top"));
        json_object_set(look, "troubles", troubles);
        json_dumpf(look, stdout, JSON_INDENT(2));
        putchar('\n');
    } else {
        progress_room(&lines, &columns);
        samples_add(samples, json_object_get(look, "cache"), clock_monotonic());
        draw(look, samples, columns, drawing);
        for (size_t i = 0; i < drawing->count; i++)
            puts(drawing->line[i].text);
    }
    json_decref(troubles);
    json_decref(look);
    return fflush(stdout) == 0 ? code : EXIT_FAILED;
}

/* What is wrong goes to the last line; the picture of before stays, and the next look may do. */
static void on_screen(const struct source *s, struct samples *samples, struct drawing *drawing)
{
    char note[200];
    json_t *look = NULL;
    int64_t due = 0;
    int key = SCREEN_NONE;
    while (key != 'q' && key != 'Q') {
        if (clock_monotonic() >= due || key == ' ') {
            json_t *fresh = NULL;
            int r = source_look(s, &fresh);
            due = clock_monotonic() + (int64_t)s->options->interval * NS_PER_S;
            snprintf(note, sizeof(note), "every %u s; q ends", s->options->interval);
            if (r < 0)
                snprintf(note, sizeof(note), "it cannot be looked at now: %s; q ends", error_text(r));
            else
                samples_add(samples, json_object_get(fresh, "cache"), clock_monotonic());
            if (r == 0) {
                json_decref(look);
                look = fresh;
            }
        }
        drawing->count = 0;
        if (look != NULL)
            draw(look, samples, screen_columns(), drawing);
        screen_show(drawing, note);
        int64_t left = (due - clock_monotonic()) / NS_PER_MS;
        key = screen_key(left < 0 ? 0 : (int)left + 1);
    }
    json_decref(look);
}

int main(int argc, char **argv)
{
    static struct samples samples;
    static struct drawing drawing;
    struct options options = {.interval = 2};
    struct source source = {.options = &options};
    int code = read_options(argc, argv, &options);
    if (code > 0)
        return code - 1;
    signal(SIGPIPE, SIG_IGN);
    if (source_open(&source) < 0)
        return EXIT_FAILED;
    if (options.once || options.json) {
        code = print_once(&source, &samples, &drawing);
    } else if (screen_begin() < 0) {
        code = print_once(&source, &samples, &drawing); /* no terminal: what --once prints */
    } else {
        log_set_level(-1); /* nothing but the screen is written to */
        on_screen(&source, &samples, &drawing);
        screen_end();
    }
    source_close(&source);
    return code;
}
