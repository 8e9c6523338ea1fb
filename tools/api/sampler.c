/* SPDX-License-Identifier: Apache-2.0 */
/* The thread, and how it is told to end. */
#include "config-auto.h"

#include "api/sampler.h"

#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/cache/mount.h"
#include "api/calls/history.h"
#include "base/log.h"

struct sampler {
    struct api *api;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t end;
    bool ending; /* protected by lock */
};

/* What an operator should know at the start. None of it is fatal: the mount may come later. */
static void introduce(const char *mount)
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

static void look(const struct api *api)
{
    json_t *status = NULL;
    if (mount_status(api->mount, &status) == 0)
        history_sample(api->history, status);
    json_decref(status);
    malloc_trim(0); /* what many connections left */
}

static void *run(void *context)
{
    struct sampler *s = context;
    struct timespec next;
    clock_gettime(CLOCK_MONOTONIC, &next);
    introduce(s->api->mount);
    pthread_mutex_lock(&s->lock);
    while (!s->ending) {
        pthread_mutex_unlock(&s->lock);
        look(s->api);
        next.tv_sec += HISTORY_SECONDS;
        pthread_mutex_lock(&s->lock);
        while (!s->ending && pthread_cond_timedwait(&s->end, &s->lock, &next) == 0)
            continue;
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

struct sampler *sampler_start(struct api *api)
{
    pthread_condattr_t monotonic;
    struct sampler *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return NULL;
    s->api = api;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&s->end, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&s->thread, NULL, run, s) != 0) {
        pthread_cond_destroy(&s->end);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return NULL;
    }
    return s;
}

void sampler_stop(struct sampler *s)
{
    if (s == NULL)
        return;
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_cond_signal(&s->end);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    pthread_cond_destroy(&s->end);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
