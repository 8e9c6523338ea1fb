/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking an image up at the backend: one question for a name at a time, however many ask.
 *
 * For backends whose answer carries bytes, the first 256 KiB (what the kernel reads at once) come with it and are kept as a probe until the image is read, so
 * that open and first read need no second round trip. The answer is written to the catalogue on the rows thread, where the waiters are woken.
 */
#include "config-auto.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/refusal.h"
#include "base/backoff.h"
#include "base/log.h"
#include "engine/lookup/lookup.h"
#include "engine/lookup/private.h"
#include "engine/lookup/probes.h"
#include "engine/lookup/taught.h"
#include "origin/room.h"

enum { LOOKUP_RETRIES = 2 };

/* ---- the end of a look-up */

/* On the rows thread. */
static void settle(void *context)
{
    struct lookup *l = context;
    struct waiters waiters = TAILQ_HEAD_INITIALIZER(waiters);
    int status = l->status;

    if (status == 0)
        status = learn_found(l);
    else if (status == -ENOENT)
        learn_gone(l);
    lookup_take_waiters(l, status, &waiters);
    wake_all(&waiters);
    lookup_free(l);
}

static void ask(struct lookup *l);

/* Makes those whose turn it is. */
void lookup_make_next(void *context)
{
    struct engine *e = context;
    struct lookup *l;
    while ((l = turns_next(&e->lookups->turns)) != NULL)
        ask(l);
}

static void give_turn_on(struct lookup *l)
{
    struct engine *e = l->engine;
    turns_end(&e->lookups->turns, l);
    if (e->lookups->turns.waiting > 0 && !transfers_tell(e->transfers, lookup_make_next, e)) /* not from here: one that fails at once gives its turn on, too */
        log_debug("%s: the look-ups that wait end with the loop", l->name);
}

/* Refused while bytes come: room is kept for it until it is answered. */
static void enter_as_guest(struct lookup *l)
{
    l->guest = true;
    room_guest_enters(l->engine->origin);
}

static void leave_as_guest(struct lookup *l)
{
    if (l->guest)
        room_guest_leaves(l->engine->origin);
    l->guest = false;
}

void lookup_finish(struct lookup *l, int status)
{
    give_turn_on(l);
    leave_as_guest(l);
    l->status = status;
    atomic_store(&l->engine->lookups->slow, clock_monotonic() - l->began > LOOKUP_HURRY_MS * NS_PER_MS);
    pthread_mutex_lock(&l->engine->lookups->lock);
    l->settling = true;
    pthread_mutex_unlock(&l->engine->lookups->lock);
    tasks_add(l->engine->rows, settle, l);
}

/* ---- asking */

static void ask_later(void *context)
{
    struct lookup *l = context;
    l->pause = NULL;
    ask(l);
}

/* Each of them is off its pause before it is asked, so that none is found twice. */
void lookup_retry_early(struct engine *e)
{
    struct lookup *l, *next, *paused;
    int64_t now = clock_monotonic();
    do {
        paused = NULL;
        pthread_mutex_lock(&e->lookups->lock);
        HASH_ITER(hh, e->lookups->by_name, l, next) {
            if (l->pause != NULL && l->pause_least <= now)
                paused = l;
        }
        pthread_mutex_unlock(&e->lookups->lock);
        if (paused != NULL) {
            transfers_timer_cancel(e->transfers, paused->pause);
            ask_later(paused);
        }
    } while (paused != NULL);
}

/* STATUS: of the answer; 0: there was none. */
static void lookup_failed(struct lookup *l, int error, int status, const char *what)
{
    struct engine *e = l->engine;
    unsigned all = origin_all(e->origin);

    if (error == -ECANCELED) {
        lookup_finish(l, -ECANCELED);
        return;
    }
    bool refused = error == -EPROTO && status >= 400 && status < 500; /* as any other try would be; the backend is well */
    if (refused && l->tried_endpoints == all && !l->known) {
        log_warning("%s: looked up in vain: %s", l->name, what);
        lookup_finish(l, -EIO);
        return;
    }
    if (error == -ENOENT || error == -EACCES || (refused && !l->known)) {
        if (error == -EACCES && status != 0)
            origin_denied(e->origin, l->endpoint, l->name, what);
        if ((l->tried_endpoints & all) == all)
            lookup_finish(l, error);
        else
            ask(l);
        return;
    }
    bool local = transfer_error_is_local(error);
    bool guest = !refused && !local && room_refused(e->origin, status, error, l->head.retry_after, 0);
    if (!refused && !local && !guest)
        origin_failed(e->origin, l->endpoint, error, what, l->head.retry_after);
    l->again = false;
    if ((l->tried_endpoints & all) != all) {
        ask(l);
        return;
    }
    l->tried_endpoints = 0;
    /* What is known or cached is served without the backend: nobody waits for it to come back. */
    if (l->known && !guest) {
        log_info("%s: it cannot be looked up (%s); what is known of it is served", l->name, what);
        lookup_finish(l, -EHOSTUNREACH);
        return;
    }
    /* A server that answers, if badly, is worth more patience than one that cannot be reached: people wait for `ls` and `stat`. */
    bool answers = error == -EAGAIN || error == -ECONNRESET || local;
    if (l->head.retry_after > PAUSE_MAX_S || (!answers && l->tries >= LOOKUP_RETRIES) || ++l->tries > e->config->retries ||
        error == -EINVAL || error == -ENOMEM) {
        log_warning("%s: looked up in vain: %s", l->name, what);
        lookup_finish(l, local ? error : -EHOSTUNREACH);
        return;
    }
    uint64_t own = backoff_ms(e->config->retry_delay, l->tries, (uint32_t)random());
    uint64_t ms = l->head.retry_after ? l->head.retry_after * UINT64_C(1000) : own;
    l->pause_least = clock_monotonic() + (guest ? 0 : (int64_t)own * NS_PER_MS);
    if (guest)
        enter_as_guest(l);
    if (transfers_timer(e->transfers, ms, ask_later, l, &l->pause) < 0)
        lookup_finish(l, -ENOMEM);
}

enum { ENOUGH = -ESHUTDOWN }; /* on_data ends the transfer: nothing more of it is wanted */

static int on_head(void *context, const struct transfer_head *head)
{
    struct lookup *l = context;
    struct engine *e = l->engine;

    l->head = *head;
    l->head.transfer = NULL;
    l->teaches = transfer_head_get(head, TAUGHT_HEADER) != NULL;
    if (!l->again)
        origin_waited(e->origin, clock_monotonic() - l->asked_at);
    if (!e->ops->describe_has_bytes)
        return 0;
    return e->ops->described(e->backend, l->endpoint, l->name, head, NULL, 0, &l->meta);
}

static int on_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct lookup *l = context;
    size_t room = (l->engine->ops->describe_has_bytes ? l->probe : PROBE_BYTES) - l->length;
    size_t n = length < room ? length : room;

    (void)head;
    if (l->body == NULL && (l->body = malloc(PROBE_BYTES)) == NULL)
        return -ENOMEM;
    memcpy(l->body + l->length, data, n);
    l->length += n;
    if (n == length)
        return 0;
    /* More than was asked for: a server without Range support sends the whole image; a document of that size makes no sense. */
    return l->engine->ops->describe_has_bytes ? ENOUGH : -EPROTO;
}

static void ask_it(struct lookup *l);
static void on_done(void *context, int error, const struct transfer_result *result);
static const struct transfer_ops lookup_ops = {.on_head = on_head, .on_data = on_data, .on_done = on_done};

static int start(struct lookup *l, const struct transfer_request *request)
{
    int r = transfer_start(l->engine->transfers, request, &lookup_ops, l, &l->transfer);
    if (r == 0)
        room_aside_begins(l->engine->origin);
    return r;
}

/* The answer did not tell the size: another way to ask. */
static void ask_again(struct lookup *l)
{
    struct engine *e = l->engine;
    struct transfer_request request = {0};

    if (l->again || e->ops->describe_again == NULL) {
        log_warning("%s: the backend does not tell its size; it cannot be shown as a file", l->name);
        lookup_finish(l, -EIO);
        return;
    }
    l->again = true;
    l->length = 0;
    int r = e->ops->describe_again(e->backend, l->endpoint, l->name, &request);
    l->extras = request.extras;
    if (r == 0)
        r = start(l, &request);
    transfer_request_clear(&request);
    if (r < 0)
        lookup_failed(l, r, 0, error_text(r));
}

static void on_done(void *context, int error, const struct transfer_result *result)
{
    struct lookup *l = context;
    struct engine *e = l->engine;
    char what[160];

    l->transfer = NULL;
    room_aside_ends(e->origin);
    leave_as_guest(l);
    if (error == ENOUGH)
        error = 0;
    if (origin_otherwise(e->origin, l->endpoint, l->extras, result, &l->others) && error < 0) {
        ask_it(l);
        return;
    }
    if (error == 0 && !e->ops->describe_has_bytes)
        error = e->ops->described(e->backend, l->endpoint, l->name, &l->head, l->body ? (const void *)l->body : "", l->length, &l->meta);
    if (error == 0) {
        origin_ok(e->origin, l->endpoint);
        if (l->plain)
            origin_sends_whole(e->origin, l->endpoint, l->name);
        if (l->meta.size == IMAGE_SIZE_UNKNOWN)
            ask_again(l);
        else
            lookup_finish(l, 0);
        return;
    }
    struct refusal refusal;
    refusal_note(result, &refusal);
    if (auth_again(e->origin, &refusal, l->credential, &l->auth_tries)) {
        l->tried_endpoints &= ~(1u << l->endpoint);
        ask(l);
        return;
    }
    if (l->ranged && backend_may_refuse_range(result->status)) { /* the first bytes, or the image? */
        l->plain = true;
        ask_it(l);
        return;
    }
    if (result->stream_only && l->streams_lost++ < STREAMS_LOST_MAX) {
        l->tried_endpoints &= ~(1u << l->endpoint);
        ask(l);
        return;
    }
    if (l->again && error == -EPROTO) { /* no HEAD either */
        ask_again(l);
        return;
    }
    if (result->status >= 400)
        refusal_text(result->status, result->document, what, sizeof(what));
    else
        snprintf(what, sizeof(what), "%.150s", result->message[0] ? result->message : error_text(error));
    lookup_failed(l, error, result->status, what);
}

static void ask_it(struct lookup *l)
{
    struct engine *e = l->engine;
    struct transfer_request request = {0};

    l->head = (struct transfer_head){0};
    l->length = 0;
    l->again = false;
    l->credential = auth_credential(e->origin);
    int r = e->ops->describe(e->backend, l->endpoint, l->name, l->probe, &request);
    l->ranged = request.ranged && !l->plain;
    request.ranged = l->ranged;
    l->extras = request.extras;
    if (r == 0)
        r = start(l, &request);
    l->asked_at = clock_monotonic();
    transfer_request_clear(&request);
    if (r < 0)
        lookup_finish(l, r == -ENOMEM || r == -ENOENT ? r : -EIO);
}

static void ask_endpoint(struct lookup *l)
{
    l->endpoint = origin_choose(l->engine->origin, &l->tried_endpoints);
    l->plain = false;
    l->others = 0;
    ask_it(l);
}

static void authorised(void *context, int status)
{
    struct lookup *l = context;
    if (status == 0)
        ask_endpoint(l);
    else
        lookup_finish(l, status);
}

static void ask(struct lookup *l)
{
    if (lookup_is_abandoned(l)) { /* who waited was interrupted meanwhile: it goes before anybody else joins */
        give_turn_on(l);
        lookup_free(l);
        return;
    }
    if (atomic_load(&l->engine->stopping)) {
        lookup_finish(l, -ECANCELED);
        return;
    }
    l->auth.ready = authorised;
    l->auth.context = l;
    int r = auth_wait(l->engine->origin, &l->auth);
    if (r != AUTH_PARKED)
        authorised(l, r);
}
