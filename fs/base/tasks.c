/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that does tasks in the order they were added. Its lock is a leaf: held only to touch the list.
 */
#include "config-auto.h"

#include "base/tasks.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

struct task {
    STAILQ_ENTRY(task) next;
    task_fn *fn;
    void *context;
};

struct tasks {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    STAILQ_HEAD(, task) list; /* protected by lock */
    bool finishing;           /* protected by lock */
    uint64_t tick_ms;         /* protected by lock; 0: no tick */
    task_fn *tick;            /* protected by lock */
    void *tick_context;       /* protected by lock */
};

/* The next task; NULL when it is time for a tick, or when all is done (*ret_end). */
static struct task *next_task(struct tasks *t, int64_t tick_at, bool *ret_end)
{
    struct timespec until = {.tv_sec = tick_at / NS_PER_S, .tv_nsec = tick_at % NS_PER_S};
    struct task *task;

    pthread_mutex_lock(&t->lock);
    while ((task = STAILQ_FIRST(&t->list)) == NULL && !t->finishing) {
        if (t->tick_ms == 0)
            pthread_cond_wait(&t->changed, &t->lock);
        else if (pthread_cond_timedwait(&t->changed, &t->lock, &until) == ETIMEDOUT)
            break;
    }
    if (task != NULL)
        STAILQ_REMOVE_HEAD(&t->list, next);
    *ret_end = task == NULL && t->finishing;
    pthread_mutex_unlock(&t->lock);
    return task;
}

static void *run(void *context)
{
    struct tasks *t = context;
    int64_t tick_at = clock_monotonic();

    for (;;) {
        bool end;
        struct task *task = next_task(t, tick_at, &end);
        if (end)
            return NULL;
        if (task != NULL) {
            task->fn(task->context);
            free(task);
        }
        pthread_mutex_lock(&t->lock);
        task_fn *tick = t->finishing ? NULL : t->tick;
        void *tick_context = t->tick_context;
        int64_t period = (int64_t)t->tick_ms * NS_PER_MS;
        pthread_mutex_unlock(&t->lock);
        if (tick != NULL && clock_monotonic() >= tick_at) {
            tick(tick_context);
            tick_at = clock_monotonic() + period;
        }
    }
}

int tasks_new(const char *name, struct tasks **ret)
{
    struct tasks *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    pthread_mutex_init(&t->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&t->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    STAILQ_INIT(&t->list);
    int r = pthread_create(&t->thread, NULL, run, t);
    if (r != 0) {
        pthread_cond_destroy(&t->changed);
        pthread_mutex_destroy(&t->lock);
        free(t);
        return -r;
    }
    pthread_setname_np(t->thread, name);
    *ret = t;
    return 0;
}

void tasks_every(struct tasks *t, uint64_t ms, task_fn *tick, void *context)
{
    pthread_mutex_lock(&t->lock);
    t->tick_ms = ms;
    t->tick = tick;
    t->tick_context = context;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void tasks_add(struct tasks *t, task_fn *fn, void *context)
{
    struct task *task = malloc(sizeof(*task));
    if (task == NULL) {
        log_error("out of memory for a task; ending, so that a new process can go on");
        abort();
    }
    *task = (struct task){.fn = fn, .context = context};
    pthread_mutex_lock(&t->lock);
    STAILQ_INSERT_TAIL(&t->list, task, next);
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void tasks_finish(struct tasks *t)
{
    if (t == NULL)
        return;
    assert(!pthread_equal(pthread_self(), t->thread));
    pthread_mutex_lock(&t->lock);
    t->finishing = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_cond_destroy(&t->changed);
    pthread_mutex_destroy(&t->lock);
    free(t);
}
