/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, with the spellings of Glance's program, and the environment. */
#include "config-auto.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/secret.h"
#include "base/version.h"
#include "manage/manage.h"

enum { O_JSON = 256, O_HTTPS, O_CA, O_VERSION = 'V', O_TOKEN_FILE = 300, O_TIMEOUT, O_MATRIX, O_HUMAN, O_PROJECT_ID, O_USER_DOMAIN, O_PROJECT_DOMAIN, O_DOMAIN };

static const struct option LONGS[] = {
    {"help", no_argument, NULL, 'h'}, {"verbose", no_argument, NULL, 'v'}, {"debug", no_argument, NULL, 'd'},
    {"host", required_argument, NULL, 'H'}, {"port", required_argument, NULL, 'p'}, {"insecure", no_argument, NULL, 'k'},
    {"force", no_argument, NULL, 'f'}, {"json", no_argument, NULL, O_JSON}, {"https", no_argument, NULL, O_HTTPS},
    {"ca-file", required_argument, NULL, O_CA}, {"os-cacert", required_argument, NULL, O_CA}, {"version", no_argument, NULL, O_VERSION},
    {"token-file", required_argument, NULL, O_TOKEN_FILE}, {"timeout", required_argument, NULL, O_TIMEOUT},
    {"matrix", no_argument, NULL, O_MATRIX}, {"human", no_argument, NULL, O_HUMAN},
    {"os-auth-token", required_argument, NULL, 'A'}, {"os_auth_token", required_argument, NULL, 'A'},
    {"auth_token", required_argument, NULL, 'A'}, {"os-username", required_argument, NULL, 'I'},
    {"os_username", required_argument, NULL, 'I'}, {"os-password", required_argument, NULL, 'K'},
    {"os_password", required_argument, NULL, 'K'}, {"os-region-name", required_argument, NULL, 'R'},
    {"os_region_name", required_argument, NULL, 'R'}, {"os-project-id", required_argument, NULL, O_PROJECT_ID},
    {"os_project_id", required_argument, NULL, O_PROJECT_ID}, {"os-project-name", required_argument, NULL, 'T'},
    {"os_project_name", required_argument, NULL, 'T'}, {"os-user-domain-id", required_argument, NULL, O_USER_DOMAIN},
    {"os-project-domain-id", required_argument, NULL, O_PROJECT_DOMAIN}, {"os-domain-id", required_argument, NULL, O_DOMAIN},
    {"os-auth-url", required_argument, NULL, 'N'}, {"os_auth_url", required_argument, NULL, 'N'},
    {"os_auth_strategy", required_argument, NULL, 'S'}, {"os-auth-strategy", required_argument, NULL, 'S'}, {NULL, 0, NULL, 0},
};

void options_help(FILE *out)
{
    fputs("Usage: glance-cache-manage [options] command [ID …]\n\nCommands:\n\n", out);
    commands_list(out);
    fputs("Options:\n\n"
          "    -H, --host HOST             a server: a name, an address, host:port or a url. Several: a list a,b, a\n"
          "                                range node-[1-5], @FILE with a line each, or the option given again.\n"
          "                                Default: those of GLANCE_CACHE_HOSTS, or 0.0.0.0\n"
          "    -p, --port PORT             the port of hosts that name none; default: 9292\n"
          "        --https                 speak https with hosts that are no urls\n"
          "        --ca-file FILE          certificates of the authorities to trust\n"
          "    -k, --insecure              accept any certificate\n"
          "    -f, --force                 do not ask\n"
          "        --json                  print JSON\n"
          "        --human                 list-cached: sizes as 1.5 GiB\n"
          "        --matrix                list-images: a column for each host\n"
          "        --timeout SECONDS       wait so long for a connection; default: 5\n"
          "    -v, --verbose               say what was done\n"
          "    -d, --debug                 show the requests\n"
          "    -A, --os-auth-token TOKEN   a token; else one is had from Keystone, by what follows. Of each, the\n"
          "                                environment's OS_AUTH_TOKEN and so on is the default, and safer: options\n"
          "                                are seen by the other users of the machine\n"
          "        --token-file FILE       a token, in a file of one line\n"
          "    -N, --os-auth-url URL       Keystone\n"
          "    -I, --os-username NAME\n"
          "    -K, --os-password PASSWORD\n"
          "        --os-user-domain-id ID\n"
          "        --os-project-id ID\n"
          "    -T, --os-project-name NAME\n"
          "        --os-project-domain-id ID\n"
          "        --os-domain-id ID       of user and project; default: default\n"
          "    -R, --os-region-name NAME   accepted, and not needed: --host says where\n"
          "    -S, --os-auth-strategy WORD keystone or noauth\n"
          "        --os-cacert FILE        as --ca-file\n"
          "    -h, --help                  this text\n"
          "    -V, --version               the version\n", out);
}

static const char *environment(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

static void read_environment(struct options *o)
{
    o->token = environment("OS_AUTH_TOKEN");
    o->username = environment("OS_USERNAME");
    o->password = environment("OS_PASSWORD");
    o->project_id = environment("OS_PROJECT_ID");
    o->project_name = environment("OS_PROJECT_NAME");
    o->user_domain_id = environment("OS_USER_DOMAIN_ID");
    o->project_domain_id = environment("OS_PROJECT_DOMAIN_ID");
    o->domain_id = environment("OS_DOMAIN_ID");
    o->auth_url = environment("OS_AUTH_URL");
    o->ca_file = environment("OS_CACERT");
    if (o->domain_id == NULL)
        o->domain_id = "default";
}

/* Options with a value. False: it is none of them. */
static bool set_text(struct options *o, int c, const char *value)
{
    const char **where = c == 'p' ? &o->port : c == O_CA ? &o->ca_file : c == 'A' ? &o->token : c == 'I' ? &o->username
        : c == 'K' ? &o->password : c == O_PROJECT_ID ? &o->project_id : c == 'T' ? &o->project_name
        : c == O_USER_DOMAIN ? &o->user_domain_id : c == O_PROJECT_DOMAIN ? &o->project_domain_id : c == O_DOMAIN ? &o->domain_id
        : c == 'N' ? &o->auth_url : c == 'S' ? &o->strategy : NULL;
    if (where != NULL)
        *where = value[0] != '\0' ? value : NULL;
    return where != NULL;
}

static bool set_flag(struct options *o, int c)
{
    bool *where = c == 'v' ? &o->verbose : c == 'd' ? &o->debug : c == 'k' ? &o->insecure : c == 'f' ? &o->force : c == O_JSON ? &o->json
        : c == O_HTTPS ? &o->https : c == O_MATRIX ? &o->matrix : c == O_HUMAN ? &o->human : NULL;
    if (where != NULL)
        *where = true;
    return where != NULL;
}

#define TRY_HELP "Try glance-cache-manage --help.\n"

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "glance-cache-manage: %s %s\n" TRY_HELP, what, value);
    return FAILURE + 1;
}

/* When all options are read: hosts that name no port have that of --port. */
static int finish(struct options *o, char **given, size_t count)
{
    const char *list = environment("GLANCE_CACHE_HOSTS");
    char why[WHY_MAX];
    int r = 0;
    if (o->port != NULL && (strspn(o->port, "0123456789") != strlen(o->port) || strlen(o->port) > 5 || atoi(o->port) < 1 ||
                            atoi(o->port) > 65535))
        return wrong("argument -p/--port: not a port from 1 to 65535:", o->port);
    for (size_t i = 0; i < count && r == 0; i++)
        r = hosts_add(o, given[i], why);
    if (count == 0)
        r = hosts_add(o, list != NULL ? list : "0.0.0.0", why);
    return r == -ENOMEM ? FAILURE + 1 : r < 0 ? wrong(count > 0 ? "argument -H/--host:" : "GLANCE_CACHE_HOSTS:", why) : 0;
}

/* A token in a file of one line. */
static int read_token(struct options *o, const char *path)
{
    int r = secret_read(path, &o->token_of_file);
    if (r == 0) {
        o->token = o->token_of_file;
        return 0;
    }
    fprintf(stderr, "glance-cache-manage: argument --token-file: %s: %s\n", path, secret_error(r));
    return FAILURE + 1;
}

static int set_timeout(struct options *o, const char *text)
{
    char *end;
    o->timeout = strtol(text, &end, 10);
    return *text < '0' || *text > '9' || *end != '\0' || o->timeout < 1 || o->timeout > 3600
               ? wrong("argument --timeout: not a number of seconds from 1 to 3600:", text) : 0;
}

/* One option. 0: go on; else the exit code plus one. */
static int take(struct options *o, int c)
{
    switch (c) {
    case 'h':
        options_help(stdout);
        return SUCCESS + 1;
    case O_VERSION:
        version_print("glance-cache-manage");
        return SUCCESS + 1;
    case 'R':
        return 0;
    case O_TOKEN_FILE:
        return read_token(o, optarg);
    case O_TIMEOUT:
        return set_timeout(o, optarg);
    default:
        if (set_flag(o, c) || (optarg != NULL && set_text(o, c, optarg)))
            return 0;
        fputs(TRY_HELP, stderr);
        return FAILURE + 1;
    }
}

int options_read(int argc, char **argv, struct options *ret)
{
    char **given = calloc((size_t)argc + 1, sizeof(*given));
    size_t count = 0;
    int c, code = given == NULL ? FAILURE + 1 : 0;
    *ret = (struct options){.timeout = 5};
    read_environment(ret);
    while (code == 0 && (c = getopt_long(argc, argv, "hvVdH:p:kfA:I:K:R:T:N:S:", LONGS, NULL)) != -1) {
        if (c == 'H')
            given[count++] = optarg;
        else
            code = take(ret, c);
    }
    ret->arguments = argv + optind;
    ret->argument_count = argc - optind;
    if (code == 0 && ret->argument_count == 0) {
        fputs("glance-cache-manage: the following arguments are required: command\n" TRY_HELP, stderr);
        code = FAILURE + 1;
    }
    if (code == 0)
        code = finish(ret, given, count);
    free(given);
    return code;
}

void options_free(struct options *o)
{
    hosts_free(o);
    secret_free(o->token_of_file);
    if (o->own_token != NULL)
        explicit_bzero(o->own_token, strlen(o->own_token));
    free(o->own_token);
}
