/* SPDX-License-Identifier: Apache-2.0 */
/* The command line, with the spellings of Glance's program, and the environment. */
#include "config-auto.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "manage/manage.h"

enum { O_JSON = 256, O_HTTPS, O_CA, O_VERSION, O_PROJECT_ID, O_USER_DOMAIN, O_PROJECT_DOMAIN, O_DOMAIN };

static const struct option LONGS[] = {
    {"help", no_argument, NULL, 'h'}, {"verbose", no_argument, NULL, 'v'}, {"debug", no_argument, NULL, 'd'},
    {"host", required_argument, NULL, 'H'}, {"port", required_argument, NULL, 'p'}, {"insecure", no_argument, NULL, 'k'},
    {"force", no_argument, NULL, 'f'}, {"json", no_argument, NULL, O_JSON}, {"https", no_argument, NULL, O_HTTPS},
    {"ca-file", required_argument, NULL, O_CA}, {"os-cacert", required_argument, NULL, O_CA}, {"version", no_argument, NULL, O_VERSION},
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
          "    -H, --host HOST             a server: a name, an address, host:port or a url; may be given several times.\n"
          "                                Default: 0.0.0.0\n"
          "    -p, --port PORT             the port of hosts that name none; default: 9292\n"
          "        --https                 speak https with hosts that are no urls\n"
          "        --ca-file FILE          certificates of the authorities to trust\n"
          "    -k, --insecure              accept any certificate\n"
          "    -f, --force                 do not ask\n"
          "        --json                  print JSON\n"
          "    -v, --verbose               say what was done\n"
          "    -d, --debug                 show the requests\n"
          "    -A, --os-auth-token TOKEN   a token; else one is had from Keystone, by what follows. Of each, the\n"
          "                                environment's OS_AUTH_TOKEN and so on is the default, and safer: options\n"
          "                                are seen by the other users of the machine\n"
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
          "        --version               the version\n", out);
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
        : c == O_HTTPS ? &o->https : NULL;
    if (where != NULL)
        *where = true;
    return where != NULL;
}

/* "h", "h:1", "[::1]:1", "::1", "http://h:1/" */
static bool make_host(const struct options *o, const char *given, struct host *ret)
{
    const char *scheme = o->https ? "https" : "http", *port = o->port != NULL ? o->port : "9292";
    int n;
    ret->name = strdup(given);
    if (strncmp(given, "http://", 7) == 0 || strncmp(given, "https://", 8) == 0) {
        ret->url = strdup(given);
        for (size_t i = ret->url != NULL ? strlen(ret->url) : 0; i > 0 && ret->url[i - 1] == '/'; i--)
            ret->url[i - 1] = '\0';
        return ret->name != NULL && ret->url != NULL;
    }
    const char *colon = strchr(given, ':');
    bool bracket = given[0] == '[';
    if (colon != NULL && !bracket && strchr(colon + 1, ':') != NULL)
        n = asprintf(&ret->url, "%s://[%s]:%s", scheme, given, port);
    else if (bracket ? strstr(given, "]:") != NULL : colon != NULL)
        n = asprintf(&ret->url, "%s://%s", scheme, given);
    else
        n = asprintf(&ret->url, "%s://%s:%s", scheme, given, port);
    return n >= 0 && ret->name != NULL;
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "glance-cache-manage: %s %s (see --help)\n", what, value);
    return USAGE + 1;
}

static int finish(struct options *o, size_t given)
{
    if (given == 0)
        o->given[given++] = "0.0.0.0";
    if (o->port != NULL && (strspn(o->port, "0123456789") != strlen(o->port) || strlen(o->port) > 5 || atoi(o->port) < 1 ||
                            atoi(o->port) > 65535))
        return wrong("argument -p/--port: not a port from 1 to 65535:", o->port);
    for (; o->host_count < given; o->host_count++) {
        if (o->given[o->host_count][0] == '\0')
            return wrong("argument -H/--host: a server must have a name, not", "''");
        if (!make_host(o, o->given[o->host_count], &o->hosts[o->host_count]))
            return FAILURE + 1;
    }
    return 0;
}

int options_read(int argc, char **argv, struct options *ret)
{
    size_t given = 0;
    int c;
    *ret = (struct options){0};
    read_environment(ret);
    while ((c = getopt_long(argc, argv, "hvdH:p:kfA:I:K:R:T:N:S:", LONGS, NULL)) != -1) {
        if (c == 'h' || c == O_VERSION) {
            if (c == 'h')
                options_help(stdout);
            else
                puts("glance-cache-manage " PACKAGE_VERSION);
            return SUCCESS + 1;
        }
        if (c == 'H' && given == HOSTS_MAX)
            return wrong("too many hosts, from", optarg);
        if (c == 'H')
            ret->given[given++] = optarg;
        else if (c != 'R' && !set_flag(ret, c) && (optarg == NULL || !set_text(ret, c, optarg)))
            return fputs("Try glance-cache-manage --help.\n", stderr), USAGE + 1;
    }
    ret->arguments = argv + optind;
    ret->argument_count = argc - optind;
    if (ret->argument_count == 0) {
        fputs("glance-cache-manage: the following arguments are required: command (see --help)\n", stderr);
        return USAGE + 1;
    }
    return finish(ret, given);
}

void options_free(struct options *o)
{
    for (size_t i = 0; i < o->host_count; i++) {
        free(o->hosts[i].name);
        free(o->hosts[i].url);
    }
    if (o->own_token != NULL)
        explicit_bzero(o->own_token, strlen(o->own_token));
    free(o->own_token);
}
