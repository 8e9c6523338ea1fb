/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glance-cache-manage: manages caches over HTTP, with the commands, tables, prompts and exit codes of Glance's program of that name, on one
 * host or several at once. Several hosts are asked by several threads, each of which has hosts of its own and their results; nothing is
 * changed meanwhile that another reads, so there is no lock. Functions of client and identity block on the network.
 *
 *   options    the command line and the environment
 *   hosts      which hosts are meant
 *   list       the table of commands
 *   client     requests; only here: libcurl
 *   identity   a token from Keystone
 *   table      tables as Glance's programs print them (pure)
 *   commands   what each command asks
 *   ask        asks it of all hosts
 *   print      what came back, as Glance's program prints it
 *   fleet      what came back of commands that Glance's program has not
 */
#ifndef GCFS_MANAGE_H
#define GCFS_MANAGE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { HOSTS_MAX = 4096, WHY_MAX = 300, SUCCESS = 0, FAILURE = 1, PARTLY = 2 };

struct host {
    char *name; /* as given */
    char *url;  /* "http://host:port" */
};

struct options {
    bool verbose, debug, force, insecure, json, https, matrix, human;
    struct host *hosts;
    size_t host_count;
    const char *port, *ca_file;
    long timeout; /* seconds to wait for a connection */
    char *token_of_file; /* of --token-file; wiped at the end */
    const char *token, *username, *password, *project_id, *project_name, *user_domain_id, *project_domain_id, *domain_id, *auth_url,
        *strategy;
    char *own_token; /* from Keystone; wiped at the end */
    char **arguments; /* the command and what follows */
    int argument_count;
};

/* ---- options.c */

/* 0: go on. Otherwise the exit code plus one; usage, help or version were printed. */
int options_read(int argc, char **argv, struct options *ret);
void options_free(struct options *o);
void options_help(FILE *out);

/* ---- hosts.c */

/* Adds the hosts that TEXT names: a list of names, addresses, urls and ranges, or @FILE. Negative errno, and why. Port and scheme of O are
 * those of hosts that name none. */
int hosts_add(struct options *o, const char *text, char why[WHY_MAX]);
void hosts_free(struct options *o);

/* ---- client.c */

struct answer {
    bool ok;          /* a status below 300 */
    long status;      /* 0: no answer */
    json_t *body;     /* NULL: none, or not JSON */
    char message[1024]; /* why not ok: of the server, or of the connection */
    bool ours;        /* the message is the server's own, in JSON */
};

/* METHOD on URL + PATH. TOKEN, DATA (JSON): NULL for none. SUBJECT receives X-Subject-Token when not NULL. Any thread. */
void client_ask(const struct options *o, const char *method, const char *url, const char *path, const char *token, const char *data,
                struct answer *ret, char **subject);
void answer_clear(struct answer *a);
/* Percent-encoded; free() it. */
char *client_encode(const char *text);

/* ---- identity.c */

/* Gets o->own_token from Keystone. False: *why says why not. While nobody asks. */
bool identity_get(struct options *o, char *why, size_t size);
bool identity_can(const struct options *o);

/* ---- table.c */

struct table {
    size_t columns, rows, size;
    const char *const *titles;
    const char *align; /* a letter a column: 'c' or 'r' */
    char **cells;
};

void table_begin(struct table *t, size_t columns, const char *const *titles, const char *align);
void table_add(struct table *t, const char *const *cells); /* copies them */
void table_print(const struct table *t, FILE *out);
void table_free(struct table *t);
/* "2026-11-22T05:06:20.060413"; no fraction when there is none. */
void table_time(double seconds, char ret[40]);

/* Characters of TEXT in UTF-8, as a terminal shows them. */
size_t text_width(const char *text);
/* How wide lines may be: the terminal's columns; 80 where standard output is none. */
size_t terminal_width(void);

/* "142 GiB", "5.1 MiB". */
void bytes_text(double n, char *ret, size_t size);
struct result;
const char *failure_of(const struct result *r); /* why it is not what was asked for, in one line */

/* ---- list.c */

enum kind { CACHED, QUEUED, STATE, CHANGE, IMAGES, INCOMPLETE, QUEUE, INVALID, SHOW };
enum ids { IDS_NONE, IDS_PATH /* a request each */, IDS_FILTER /* one request, of whose answer they are picked */, IDS_NUMBER };

struct command {
    const char *name;
    enum kind kind;
    enum ids ids;
    const char *method, *path, *behind; /* the id stands between */
    const char *action;   /* "Failed to …" */
    const char *question; /* with %s for the id; NULL: none */
    const char *done;     /* with -v; %s: the id or the number */
    const char *number;   /* the key of the number in the answer */
    const char *help;
};

const struct command *command_find(const char *name); /* NULL */
void commands_list(FILE *out);

/* ---- print.c */

struct result {
    const struct host *host;
    const char *id; /* NULL: the command takes none, or picks of the answer */
    bool asked;
    struct answer answer;
};

/* Puts TEXT for the "%s" of FORMAT. */
void command_text(const char *format, const char *text, char *ret, size_t size);
/* SUCCESS; FAILURE when all of them failed, PARTLY when some did. */
int print_results(const struct options *o, const struct command *c, const struct result *results, size_t count);

/* ---- fleet.c: one result a host */

void print_status(const struct result *results, size_t count);
void print_fleet_images(const struct options *o, const struct result *results, size_t count);
void print_incomplete(const struct result *results, size_t count);
void print_queue(const struct result *results, size_t count);
void print_invalid(const struct result *results, size_t count);
/* What each host has of o->arguments[1 …]. */
void print_show(const struct options *o, const struct result *results, size_t count);

/* ---- ask.c */

/*
 * Asks C of each host, once for each of its IDS results: RESULTS has those of the first host, then those of the second, with host and id
 * set. With the token of the options, or one from Keystone; one that is refused is replaced once, where there is a password. Blocks.
 */
void ask(struct options *o, const struct command *c, struct result *results, size_t hosts, size_t ids);

/* ---- commands.c */

int commands_run(struct options *o); /* the exit code */

#endif
