/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-api: options, start and end. */
#include "config-auto.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/access/auth.h"
#include "api/cache/mount.h"
#include "api/access/service.h"
#include "api/calls/history.h"
#include "api/http/api.h"
#include "api/http/connections.h"
#include "api/listener.h"
#include "base/log.h"
#include "base/notify.h"
#include "common/find_mount.h"

enum { PEM_MAX = 1024 * 1024 };
/* That of this installation, or else, if there is only that one, Glance's. */
static const char OWN_CONFIG[] = SYSCONFDIR "/glance-cache/glance-cache.conf", GLANCES_CONFIG[] = "/etc/glance/glance-cache.conf";

static const char USAGE[] =
    "Usage: glance-cache-api [--config-file FILE] [--mount DIRECTORY] [--debug]\n"
    "Serves a mounted image cache over HTTP: downloads, management, metrics, a status page.\n"
    "\n"
    "  --config-file FILE   the configuration; default: " SYSCONFDIR "/glance-cache/glance-cache.conf,\n"
    "                       or else /etc/glance/glance-cache.conf\n"
    "  --mount DIRECTORY    where the cache is mounted; default: option mount of section [api], or else\n"
    "                       where the configuration is mounted now\n"
    "  -d, --debug          log every request\n"
    "  -h, --help           this text\n"
    "      --version        the version\n";

struct options {
    const char *config, *mount;
    bool debug;
};

static int try_help(void)
{
    fputs("Try glance-cache-api --help.\n", stderr);
    return 2;
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct options *ret)
{
    static const struct option longs[] = {
        {"config-file", required_argument, NULL, 'c'}, {"mount", required_argument, NULL, 'm'}, {"debug", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0},
    };
    int c;
    *ret = (struct options){.config = access(OWN_CONFIG, F_OK) < 0 && access(GLANCES_CONFIG, F_OK) == 0 ? GLANCES_CONFIG : OWN_CONFIG};
    while ((c = getopt_long(argc, argv, "c:m:dh", longs, NULL)) != -1) {
        if (c == 'c')
            ret->config = optarg;
        else if (c == 'm')
            ret->mount = optarg;
        else if (c == 'd')
            ret->debug = true;
        else if (c == 'h' || c == 'V')
            return fputs(c == 'h' ? USAGE : "glance-cache-api " PACKAGE_VERSION "\n", stdout) < 0;
        else
            return try_help();
    }
    if (optind < argc) {
        fprintf(stderr, "glance-cache-api: '%s' is more than it takes\n", argv[optind]);
        return try_help();
    }
    return -1;
}

static int read_pem(const char *path, char **ret)
{
    FILE *in = fopen(path, "re");
    char *text = in != NULL ? calloc(1, PEM_MAX) : NULL;
    if (text == NULL) {
        int r = -errno;
        if (in != NULL)
            fclose(in);
        return log_errno(r, "cannot read %s", path);
    }
    size_t n = fread(text, 1, PEM_MAX - 1, in);
    fclose(in);
    if (n == 0) {
        free(text);
        return log_errno(-ENODATA, "cannot read %s", path);
    }
    *ret = text;
    return 0;
}

/* Each connection takes one descriptor, and one more while it downloads. */
static void raise_descriptor_limit(const struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->api.max_connections * 3 + 100;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_warning("only %llu descriptors may be open; %llu connections may need %llu: raise LimitNOFILE or ulimit -n",
                    (unsigned long long)limit.rlim_cur, (unsigned long long)config->api.max_connections, (unsigned long long)wanted);
}

/* What an operator should know at the start. None of it is fatal: the mount may come later. */
static void look_at_mount(const char *mount)
{
    json_t *status = NULL;
    int error = mount_status(mount, &status);
    json_decref(status);
    if (error == -ENOTCONN)
        log_notice("no cache is mounted at %s: clients get 503 until glance-cache-fs is started", mount);
    else if (error == -EACCES)
        log_warning("the cache at %s is another user's: clients get 502 until it is mounted with -o allow_other", mount);
    else if (error < 0)
        log_warning("the cache at %s does not tell its status: %s", mount, strerror(-error));
    else if (!mount_may_change(mount))
        log_warning("this user may read the cache at %s, and not manage it: run as the user who owns the folders there", mount);
    if (geteuid() == 0)
        log_notice("this server runs as root and need not: run it as the user who owns the folders in %s", mount);
}

/* Until a signal to end. Once a second: those who wait too long, and the history. */
static void run(struct api *api, const sigset_t *signals)
{
    struct timespec second = {.tv_sec = 1};
    unsigned ticks = 0;
    while (sigtimedwait(signals, NULL, &second) < 0) {
        connections_expire(api->connections);
        if (++ticks % HISTORY_SECONDS != 1)
            continue;
        json_t *status = NULL;
        if (mount_status(api->mount, &status) == 0)
            history_sample(api->history, status);
        json_decref(status);
        malloc_trim(0); /* what many connections left */
    }
    log_info("ending");
}

static int start_listeners(struct api *api, struct listener **listeners)
{
    const struct config_api *config = &api->config->api;
    char *cert = NULL, *key = NULL;
    int r = 0;
    if (config->tls_cert_file != NULL && (r = read_pem(config->tls_cert_file, &cert)) == 0)
        r = read_pem(config->tls_key_file != NULL ? config->tls_key_file : config->tls_cert_file, &key);
    for (size_t i = 0; r == 0 && i < config->listen_count; i++)
        r = listener_start(api, config->listen[i], config->auth == API_AUTH_NONE, cert, key, &listeners[i]);
    if (cert != NULL)
        explicit_bzero(cert, strlen(cert));
    free(cert); /* the library has parsed both */
    if (key != NULL)
        explicit_bzero(key, strlen(key));
    free(key);
    return r;
}

static int serve(struct api *api)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is started */
    signal(SIGPIPE, SIG_IGN);
    struct listener **listeners = calloc(api->config->api.listen_count + 1, sizeof(*listeners));
    int r = auth_new(api->config, &api->auth);
    api->connections = connections_new(api->config->api.request_timeout);
    api->history = history_new();
    if (r == 0 && (listeners == NULL || api->connections == NULL || api->history == NULL))
        r = -ENOMEM;
    if (r == 0)
        r = start_listeners(api, listeners);
    if (r == 0) {
        look_at_mount(api->mount);
        notify_tell("READY=1");
        run(api, &signals);
        notify_tell("STOPPING=1");
    }
    for (size_t i = 0; listeners != NULL && i < api->config->api.listen_count; i++)
        listener_stop(listeners[i]);
    free(listeners);
    history_free(api->history);
    connections_free(api->connections);
    auth_free(api->auth);
    return r;
}

int main(int argc, char **argv)
{
    struct options options;
    char message[CONFIG_MESSAGE_MAX];
    struct config *config;
    int code = read_options(argc, argv, &options);
    if (code >= 0)
        return code;
    if (config_load(options.config, &config, message) < 0) {
        fprintf(stderr, "glance-cache-api: %s\n", message);
        return 1;
    }
    log_set_level(options.debug ? LOG_DEBUG : log_level_by_name(config->log_level));
    struct cache_mount found = {.fd = -1};
    const char *mount = options.mount != NULL ? options.mount : config->api.mount;
    if (mount == NULL && find_mount(NULL, options.config, &found) < 0) { /* which says why */
        config_free(config);
        return 1;
    }
    if (mount == NULL) {
        mount = found.path;
        close(found.fd); /* which would keep the cache from being unmounted */
        found.fd = -1;
    }
    mallopt(M_ARENA_MAX, 2); /* a thread a connection must not mean a heap a thread */
    raise_descriptor_limit(config);
    service_set_up();
    struct api api = {.config = config, .mount = mount};
    int r = serve(&api);
    service_clean_up();
    cache_mount_close(&found);
    config_free(config);
    return r == 0 ? 0 : 1;
}
