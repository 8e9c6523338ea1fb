/* SPDX-License-Identifier: Apache-2.0 */
/* glance-cache-api: options, start and end. */
#include "config-auto.h"

#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "api/access/auth.h"
#include "api/access/documents.h"
#include "api/access/service.h"
#include "api/access/signing.h"
#include "api/calls/history.h"
#include "api/calls/nodes.h"
#include "api/http/api.h"
#include "api/http/audit.h"
#include "api/http/connections.h"
#include "api/listener.h"
#include "api/relay/tee.h"
#include "api/relay/upstream.h"
#include "api/sampler.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/version.h"
#include "common/find_mount.h"

enum { PEM_MAX = 1024 * 1024, ENDING_SECONDS = 10 };
/* That of this installation, or else, if there is only that one, Glance's. */
static const char OWN_CONFIG[] = SYSCONFDIR "/glance-cache/glance-cache.conf", GLANCES_CONFIG[] = "/etc/glance/glance-cache.conf";

static const char USAGE[] =
    "Usage: glance-cache-api [--config-file FILE] [--mount DIRECTORY] [--verbose]\n"
    "Serves a mounted image cache over HTTP: downloads, management, metrics, a status page.\n"
    "\n"
    "  --config-file FILE   the configuration; default: " SYSCONFDIR "/glance-cache/glance-cache.conf,\n"
    "                       or else /etc/glance/glance-cache.conf\n"
    "  --mount DIRECTORY    where the cache is mounted; default: option mount of section [api], or else\n"
    "                       where the configuration is mounted now\n"
    "  -v, --verbose        log every request; also -d, --debug\n"
    "  -h, --help           this text\n"
    "  -V, --version        the version\n";

struct options {
    const char *config, *mount;
    bool debug;
};

static int try_help(void)
{
    fputs("Try glance-cache-api --help.\n", stderr);
    return 1;
}

static int say(int c)
{
    if (c == 'h')
        fputs(USAGE, stdout);
    else
        version_print("glance-cache-api");
    return fflush(stdout) == 0 ? 0 : 1;
}

/* -1: go on; else the exit code. */
static int read_options(int argc, char **argv, struct options *ret)
{
    static const struct option longs[] = {
        {"config-file", required_argument, NULL, 'c'}, {"mount", required_argument, NULL, 'm'}, {"debug", no_argument, NULL, 'd'}, {"verbose", no_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {NULL, 0, NULL, 0},
    };
    int c;
    *ret = (struct options){.config = access(OWN_CONFIG, F_OK) < 0 && access(GLANCES_CONFIG, F_OK) == 0 ? GLANCES_CONFIG : OWN_CONFIG};
    while ((c = getopt_long(argc, argv, "c:m:dvhV", longs, NULL)) != -1) {
        if (c == 'c')
            ret->config = optarg;
        else if (c == 'm')
            ret->mount = optarg;
        else if (c == 'd' || c == 'v')
            ret->debug = true;
        else if (c == 'h' || c == 'V')
            return say(c);
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

/* Each connection takes one descriptor, and one more while it downloads; where it is passed on, four more. */
static void raise_descriptor_limit(const struct config *config)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)config->api.max_connections * (config->api.upstream_count > 0 ? 6 : 3) + 100;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        log_warning("only %llu descriptors may be open; %llu connections may need %llu: raise LimitNOFILE or ulimit -n",
                    (unsigned long long)limit.rlim_cur, (unsigned long long)config->api.max_connections, (unsigned long long)wanted);
}

/* ---- serving */

struct server {
    struct api *api;
    struct listener **listeners; /* as many as addresses are listened on */
};

static void wipe(char *text)
{
    if (text != NULL)
        explicit_bzero(text, strlen(text));
    free(text);
}

/* The certificate and its key; both NULL where plain http is spoken. */
static int read_certificate(const struct config_api *config, char **ret_cert, char **ret_key)
{
    *ret_cert = *ret_key = NULL;
    if (config->tls_cert_file == NULL)
        return 0;
    const char *key_file = config->tls_key_file != NULL ? config->tls_key_file : config->tls_cert_file;
    struct stat st;
    if (stat(key_file, &st) == 0 && (st.st_mode & S_IROTH) != 0)
        log_warning("everyone on this machine may read the key in %s: chmod o-r it", key_file);
    int r = read_pem(config->tls_cert_file, ret_cert);
    return r == 0 ? read_pem(key_file, ret_key) : r;
}

static int check_proxies(const struct config_api *config)
{
    for (size_t i = 0; i < config->trusted_proxy_count; i++) {
        if (!peer_network_valid(config->trusted_proxies[i])) {
            log_error("trusted_proxies: %s is neither an address nor a network as 10.0.0.0/24", config->trusted_proxies[i]);
            return -EINVAL;
        }
    }
    return 0;
}

static int start_listeners(struct server *s)
{
    const struct config_api *config = &s->api->config->api;
    char *cert = NULL, *key = NULL;
    int r = check_proxies(config);
    if (r == 0)
        r = read_certificate(config, &cert, &key);
    for (size_t i = 0; r == 0 && i < config->listen_count; i++)
        r = listener_start(s->api, config->listen[i], config->auth == API_AUTH_NONE, cert, key, &s->listeners[i]);
    wipe(cert); /* the library has parsed both */
    wipe(key);
    return r;
}

/* SIGHUP: what is read from files beside the configuration is read anew; what cannot be stays as it was. */
static void reload(struct server *s)
{
    const struct config_api *config = &s->api->config->api;
    char *cert = NULL, *key = NULL;
    int r = auth_reload(s->api->auth);
    int audit = audit_reopen(s->api->audit), signing = signing_reload(s->api->signing);
    r = r < 0 ? r : audit < 0 ? audit : signing;
    if (config->tls_cert_file != NULL) {
        int error = read_certificate(config, &cert, &key);
        for (size_t i = 0; error == 0 && i < config->listen_count; i++)
            error = listener_renew(s->listeners[i], cert, key);
        wipe(cert);
        wipe(key);
        r = r == 0 ? error : r;
    }
    if (r == 0)
        log_notice("tokens%s are read anew", config->tls_cert_file != NULL ? " and the certificate" : "");
    else
        log_error("not all could be read anew: what could not stays as it was");
}

/* Until a signal to end. Nothing here may wait for the cache. */
static void run(struct server *s, const sigset_t *signals)
{
    struct timespec second = {.tv_sec = 1};
    for (;;) {
        int signal_ = sigtimedwait(signals, NULL, &second);
        if (signal_ == SIGHUP)
            reload(s);
        else if (signal_ > 0)
            break;
        connections_expire(s->api->connections);
        for (size_t i = 0; i < s->api->config->api.listen_count; i++)
            listener_tidy(s->listeners[i]);
    }
    log_info("ending");
}

/* A request that waits for a cache that hangs cannot be called back: the process ends without it. */
static void *end_at_last(void *context)
{
    (void)context;
    sleep(ENDING_SECONDS);
    log_notice("requests still wait for the cache: ending without them");
    _exit(0);
}

static void start_ending(void)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, end_at_last, NULL) == 0)
        pthread_detach(thread);
}

static int serve(struct api *api)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* before any thread is started */
    signal(SIGPIPE, SIG_IGN);
    struct server s = {.api = api, .listeners = calloc(api->config->api.listen_count + 1, sizeof(*s.listeners))};
    struct sampler *sampler = NULL;
    const struct config_api *config = &api->config->api;
    api->glance = config->upstream_count > 0 ? endpoints_new(config->upstream, config->upstream_count) : NULL;
    int r = config->upstream_count > 0 && api->glance == NULL ? -ENOMEM : auth_new(api->config, api->glance, &api->auth);
    if (r == 0)
        r = audit_new(api->config->api.audit_log, &api->audit);
    if (r == 0)
        r = signing_new(api->config->api.temp_url_key_file, &api->signing);
    api->connections = connections_new(&api->config->api);
    api->history = history_new();
    api->documents = documents_new(&api->config->api);
    api->nodes = nodes_new(&api->config->api);
    api->upstream = api->glance != NULL ? upstream_new(config, api->glance) : NULL;
    api->tees = api->upstream != NULL && config->keep_uploads ? tees_new(api->mount) : NULL;
    if (api->glance != NULL && (api->upstream == NULL || (config->keep_uploads && api->tees == NULL)))
        r = -ENOMEM;
    if (r == 0 && (s.listeners == NULL || api->connections == NULL || api->history == NULL || api->nodes == NULL ||
                   api->documents == NULL))
        r = -ENOMEM;
    if (r == 0)
        r = start_listeners(&s);
    if (r == 0) {
        sampler = sampler_start(api);
        notify_tell("READY=1");
        run(&s, &signals);
        notify_tell("STOPPING=1");
        start_ending();
    }
    for (size_t i = 0; s.listeners != NULL && i < api->config->api.listen_count; i++)
        listener_stop(s.listeners[i]);
    free(s.listeners);
    sampler_stop(sampler);
    history_free(api->history);
    nodes_free(api->nodes);
    documents_free(api->documents);
    tees_free(api->tees);
    upstream_free(api->upstream);
    connections_free(api->connections);
    audit_free(api->audit);
    signing_free(api->signing);
    auth_free(api->auth);
    endpoints_free(api->glance);
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
