/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs that use the mount have in common: the command line, the configuration, finding the mount, one run or one
 * every so often (--interval), signals, the service manager, the report as JSON.
 *
 * A program describes itself in a struct tool and calls tool_main(). Its run() is called with the mount found and open, once or
 * again and again; it works through the mount only. One thread, unless a program starts more.
 */
#ifndef GCFS_TOOL_H
#define GCFS_TOOL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/find_mount.h"
#include "config/config.h"

/* What the programs exit with; a run() returns one of them. */
enum tool_exit {
    TOOL_DONE = 0,   /* all that was to do is done */
    TOOL_FAILED = 1, /* nothing could be done: the command line, the configuration, the mount; or stopped by a signal */
    TOOL_PARTLY = 2, /* done, but for what the log names */
};

struct tool_option {
    const char *name;     /* --name */
    const char *argument; /* what --help calls its value; NULL: it takes none */
    const char *text;     /* for --help; its lines are separated by \n */
};

/* One run. */
struct tool_run {
    const struct cache_mount *mount;
    const struct config *config; /* NULL: there is none that we may read */
    bool dry_run;
    bool verbose;   /* each image is to be told of, by log_debug() */
    json_t *report; /* NULL without --json, else an object: run() adds to it */
};

struct tool {
    const char *name;
    const char *operands; /* for --help, as " [ID ...]"; "": it takes none */
    const char *purpose;  /* for --help: a sentence or two, with line breaks */
    const char *exits;    /* for --help: what the codes mean */
    const struct tool_option *options;
    size_t option_count;
    const char *const *lists; /* of its report, NULL-terminated: they are there when they are empty, too */
    /* VALUE of option NAME. -EINVAL: said what is wrong with it by log_error(). */
    int (*take_option)(const char *name, const char *value);
    /* The operands. NULL with "" above. */
    void (*take_operands)(char **operands, size_t count);
    enum tool_exit (*run)(struct tool_run *run);
};

int tool_main(int argc, char **argv, const struct tool *tool);

/* Has a signal asked us to end? A run() looks at this between steps. */
bool tool_stopping(void);
/* Sleeps for NS nanoseconds, or until a signal asks us to end. */
void tool_sleep(int64_t ns);

/* VALUE of option NAME as a size ("100M"); logs what is wrong with it. */
int tool_take_size(const char *name, const char *value, uint64_t *ret);
/* VALUE of option NAME as a whole number from MIN to MAX. */
int tool_take_number(const char *name, const char *value, uint64_t min, uint64_t max, uint64_t *ret);

/* The report's list NAME gets ITEM (taken over; NULL: no memory, then nothing is added). Nothing happens without a report. */
void tool_report(const struct tool_run *run, const char *name, json_t *item);

#endif
