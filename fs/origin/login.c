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

#include "base/clock.h"
#include "base/log.h"
#include "origin/private.h"

enum { ANSWER_MAX = 1 << 20, LOGIN_PAUSE_MAX_S = 8, REFUSED_PAUSE_S = 60 };

/* ---- the end of a renewal */

static void wake(struct origin *o, int status)
{
    struct auth_waiters all = TAILQ_HEAD_INITIALIZER(all);
    struct auth_waiter *w;

    TAILQ_CONCAT(&all, &o->login.waiters, link);
    TAILQ_FOREACH(w, &all, link)
        w->list = &all; /* whoever is woken may cancel another */
    while ((w = TAILQ_FIRST(&all)) != NULL) {
        TAILQ_REMOVE(&all, w, link);
        w->list = NULL;
        w->ready(w->context, status);
    }
}

static void succeeded(struct origin *o)
{
    o->login.fails = 0;
    o->login.not_before = 0;
    origin_ok(o, ENDPOINT_AUTH);
    wake(o, 0);
}

/* Those who wait get an error, but a renewal ahead of time that failed harms nobody yet. */
static void failed(struct origin *o, int error, const char *what, unsigned retry_after)
{
    unsigned pause = 1u << (o->login.fails < 3 ? o->login.fails : 3);
    if (pause > LOGIN_PAUSE_MAX_S)
        pause = LOGIN_PAUSE_MAX_S;
    if (error == -EACCES)
        pause = REFUSED_PAUSE_S;
    if (retry_after > pause)
        pause = retry_after < PAUSE_MAX_S ? retry_after : PAUSE_MAX_S;
    o->login.fails++;
    o->login.not_before = clock_monotonic() + pause * NS_PER_S;
    o->login.status = error == -EACCES || error == -ENOMEM || error == -ECANCELED ? error : -EHOSTUNREACH;
    if (error != -ECANCELED)
        origin_failed(o, ENDPOINT_AUTH, error, what, pause);
    wake(o, o->login.status);
}

/* ---- its transfer */

static int on_head(void *context, const struct transfer_head *head)
{
    struct origin *o = context;
    o->login.retry_after = head->retry_after;
    return o->ops->auth_head(o->backend, head, &o->login.why);
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct origin *o = context;
    (void)head;
    if (length > ANSWER_MAX - o->login.length)
        return -EPROTO;
    if (o->login.length + length > o->login.room) {
        size_t room = 2 * (o->login.length + length);
        char *body = realloc(o->login.body, room);
        if (body == NULL)
            return -ENOMEM;
        o->login.body = body;
        o->login.room = room;
    }
    memcpy(o->login.body + o->login.length, data, length);
    o->login.length += length;
    return 0;
}

static void unanswered(struct origin *o, const char *message, char *what, size_t size)
{
    const char *hint = o->ops->auth_hint != NULL ? o->ops->auth_hint(o->backend) : NULL;
    snprintf(what, size, "%.80s%s%.60s%s", message, hint != NULL ? " (" : "", hint != NULL ? hint : "", hint != NULL ? ")" : "");
}

static int start(struct origin *o);

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct origin *o = context;
    char what[160];

    o->login.transfer = NULL;
    if (error == 0)
        error = o->ops->authorised(o->backend, o->login.body, o->login.length, &o->login.why);
    free(o->login.body);
    o->login.body = NULL;
    o->login.length = o->login.room = 0;
    if (error == AUTH_FURTHER)
        error = start(o);
    else if (error == 0)
        succeeded(o);
    if (error == 0)
        return;
    if (o->login.why != NULL)
        snprintf(what, sizeof(what), "%.150s", o->login.why);
    else if (result->status >= 400)
        snprintf(what, sizeof(what), "it answered %d", result->status);
    else
        unanswered(o, result->message[0] ? result->message : error_text(error), what, sizeof(what));
    failed(o, error, what, o->login.retry_after);
}

static const struct transfer_ops auth_ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};

static int start(struct origin *o)
{
    struct transfer_request request = {0};
    if (o->login.transfer != NULL)
        return 0;
    o->login.why = NULL;
    o->login.retry_after = 0;
    int r = o->ops->auth(o->backend, &request);
    if (r == 0)
        r = transfer_start(o->transfers, &request, &auth_ops, o, &o->login.transfer);
    transfer_request_clear(&request);
    return r;
}

/* ---- for those who ask */

int auth_wait(struct origin *o, struct auth_waiter *w)
{
    if (o->ops->auth_needed == NULL || w->list != NULL)
        return w->list != NULL ? AUTH_PARKED : 0;
    enum auth_need need = o->ops->auth_needed(o->backend);
    bool paused = clock_monotonic() < o->login.not_before;
    if (need == AUTH_SOON && !paused)
        start(o);
    if (need != AUTH_NOW)
        return 0;
    if (paused && o->login.transfer == NULL)
        return o->login.status;
    int r = start(o);
    if (r < 0)
        return r;
    w->list = &o->login.waiters;
    TAILQ_INSERT_TAIL(w->list, w, link);
    return AUTH_PARKED;
}

uint64_t auth_pause(const struct origin *o)
{
    int64_t left = o->login.not_before - clock_monotonic();
    return left > 0 ? (uint64_t)((left + NS_PER_MS - 1) / NS_PER_MS) : 0;
}

void auth_cancel(struct auth_waiter *w)
{
    if (w->list != NULL)
        TAILQ_REMOVE(w->list, w, link);
    w->list = NULL;
}

unsigned auth_credential(struct origin *o)
{
    return o->ops->credential != NULL ? o->ops->credential(o->backend) : 0;
}

bool auth_again(struct origin *o, const struct refusal *refusal, unsigned credential, unsigned *tries)
{
    if (refusal->status < 400 || o->ops->refused == NULL || *tries >= AUTH_TRIES ||
        !o->ops->refused(o->backend, credential, refusal->status, refusal->code))
        return false;
    ++*tries;
    return true;
}

/* ---- for the lister */

struct question {
    struct origin *origin;
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
    int r = auth_wait(q->origin, &q->waiter);
    if (r != AUTH_PARKED)
        answer(q, r);
}

int auth_now(struct origin *o)
{
    struct question q = {.origin = o};
    if (o->ops->auth_needed == NULL)
        return 0;
    q.waiter = (struct auth_waiter){.ready = answer, .context = &q};
    sem_init(&q.done, 0, 0);
    if (transfers_tell(o->transfers, ask, &q)) {
        while (sem_wait(&q.done) < 0)
            continue;
    } else {
        q.status = -ECANCELED;
    }
    sem_destroy(&q.done);
    return q.status;
}
