/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of backends that must be had first: one renewal at a time, on the fetch thread, however many wait for it.
 *
 *     none or refused ──asked for──> under way ──> had ──nearing its end──> under way, requests go on with the old one
 *            ^                           │
 *            └──── failed: not again for a while (1 s, doubling to 8 s; 60 s when we are refused) ────
 *
 * All of this happens on the fetch thread, but auth_now(), which posts to it and waits.
 */
#include "config-auto.h"

#include <errno.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "engine/private.h"

enum { ANSWER_MAX = 1 << 20, LOGIN_PAUSE_MAX_S = 8, REFUSED_PAUSE_S = 60 };

/* ---- the end of a renewal */

static void wake(struct engine *e, int status)
{
    struct auth_waiters all = TAILQ_HEAD_INITIALIZER(all);
    struct auth_waiter *w;

    TAILQ_CONCAT(&all, &e->auth.waiters, link);
    TAILQ_FOREACH(w, &all, link)
        w->list = &all; /* whoever is woken may cancel another */
    while ((w = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, w, link);
        w->list = NULL;
        w->ready(w->context, status);
    }
    fetch_schedule(e);
}

static void succeeded(struct engine *e)
{
    e->auth.fails = 0;
    e->auth.not_before = 0;
    origin_ok(e, ENDPOINT_AUTH);
    wake(e, 0);
}

/* Those who wait get an error, but a renewal ahead of time that failed harms nobody yet. */
static void failed(struct engine *e, int error, const char *what, unsigned retry_after)
{
    unsigned pause = 1u << (e->auth.fails < 3 ? e->auth.fails : 3);
    if (pause > LOGIN_PAUSE_MAX_S)
        pause = LOGIN_PAUSE_MAX_S;
    if (error == -EACCES)
        pause = REFUSED_PAUSE_S;
    if (retry_after > pause)
        pause = retry_after < PAUSE_MAX_S ? retry_after : PAUSE_MAX_S;
    e->auth.fails++;
    e->auth.not_before = clock_monotonic() + pause * NS_PER_S;
    e->auth.status = error == -EACCES || error == -ENOMEM || error == -ECANCELED ? error : -EHOSTUNREACH;
    if (error != -ECANCELED)
        origin_failed(e, ENDPOINT_AUTH, error, what, pause);
    wake(e, e->auth.status);
}

/* ---- its transfer */

static int on_head(void *context, const struct transfer_head *head)
{
    struct engine *e = context;
    e->auth.retry_after = head->retry_after;
    return e->ops->auth_head(e->backend, head, &e->auth.why);
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct engine *e = context;
    (void)head;
    if (length > ANSWER_MAX - e->auth.length)
        return -EPROTO;
    if (e->auth.length + length > e->auth.room) {
        size_t room = 2 * (e->auth.length + length);
        char *body = realloc(e->auth.body, room);
        if (body == NULL)
            return -ENOMEM;
        e->auth.body = body;
        e->auth.room = room;
    }
    memcpy(e->auth.body + e->auth.length, data, length);
    e->auth.length += length;
    return 0;
}

static void unanswered(struct engine *e, const char *message, char *what, size_t size)
{
    const char *hint = e->ops->auth_hint != NULL ? e->ops->auth_hint(e->backend) : NULL;
    snprintf(what, size, "%.80s%s%.60s%s", message, hint != NULL ? " (" : "", hint != NULL ? hint : "", hint != NULL ? ")" : "");
}

static int start(struct engine *e);

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct engine *e = context;
    char what[160];

    e->auth.transfer = NULL;
    if (error == 0)
        error = e->ops->authorised(e->backend, e->auth.body, e->auth.length, &e->auth.why);
    free(e->auth.body);
    e->auth.body = NULL;
    e->auth.length = e->auth.room = 0;
    if (error == AUTH_FURTHER)
        error = start(e);
    else if (error == 0)
        succeeded(e);
    if (error == 0)
        return;
    if (e->auth.why != NULL)
        snprintf(what, sizeof(what), "%.150s", e->auth.why);
    else if (result->status >= 400)
        snprintf(what, sizeof(what), "it answered %d", result->status);
    else
        unanswered(e, result->message[0] ? result->message : error_text(error), what, sizeof(what));
    failed(e, error, what, e->auth.retry_after);
}

static const struct transfer_ops auth_ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};

static int start(struct engine *e)
{
    struct transfer_request request = {0};
    if (e->auth.transfer != NULL)
        return 0;
    e->auth.why = NULL;
    e->auth.retry_after = 0;
    int r = e->ops->auth(e->backend, &request);
    if (r == 0)
        r = transfer_start(e->transfers, &request, &auth_ops, e, &e->auth.transfer);
    transfer_request_clear(&request);
    return r;
}

/* ---- for those who ask */

int auth_wait(struct engine *e, struct auth_waiter *w)
{
    if (e->ops->auth_needed == NULL || w->list != NULL)
        return w->list != NULL ? AUTH_PARKED : 0;
    enum auth_need need = e->ops->auth_needed(e->backend);
    bool paused = clock_monotonic() < e->auth.not_before;
    if (need == AUTH_SOON && !paused)
        start(e);
    if (need != AUTH_NOW)
        return 0;
    if (paused && e->auth.transfer == NULL)
        return e->auth.status;
    int r = start(e);
    if (r < 0)
        return r;
    w->list = &e->auth.waiters;
    TAILQ_INSERT_TAIL(w->list, w, link);
    return AUTH_PARKED;
}

uint64_t auth_pause(const struct engine *e)
{
    int64_t left = e->auth.not_before - clock_monotonic();
    return left > 0 ? (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

void auth_cancel(struct auth_waiter *w)
{
    if (w->list != NULL)
        TAILQ_REMOVE(w->list, w, link);
    w->list = NULL;
}

unsigned auth_credential(struct engine *e)
{
    return e->ops->credential != NULL ? e->ops->credential(e->backend) : 0;
}

bool auth_again(struct engine *e, const struct refusal *refusal, unsigned credential, unsigned *tries)
{
    if (refusal->status < 400 || e->ops->refused == NULL || *tries >= AUTH_TRIES ||
        !e->ops->refused(e->backend, credential, refusal->status, refusal->code))
        return false;
    ++*tries;
    return true;
}

/* ---- for the lister */

struct question {
    struct engine *e;
    struct auth_waiter waiter;
    int status;
    sem_t done;
};

static void answer(void *context, int status)
{
    struct question *q = context;
    q->status = status;
    sem_post(&q->done);
}

static void ask(void *context)
{
    struct question *q = context;
    int r = auth_wait(q->e, &q->waiter);
    if (r != AUTH_PARKED)
        answer(q, r);
}

int auth_now(struct engine *e)
{
    struct question q = {.e = e};
    if (e->ops->auth_needed == NULL)
        return 0;
    q.waiter = (struct auth_waiter){.ready = answer, .context = &q};
    sem_init(&q.done, 0, 0);
    if (engine_post(e, ask, &q)) {
        while (sem_wait(&q.done) < 0)
            continue;
    } else {
        q.status = -ECANCELED;
    }
    sem_destroy(&q.done);
    return q.status;
}
