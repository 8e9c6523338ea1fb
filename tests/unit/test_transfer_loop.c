/* SPDX-License-Identifier: Apache-2.0 */
/* The loop of transfers: cancelling from other callbacks, posts, timers, stopping, transfers on the caller's thread. */
#include "config-auto.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "transfer_origin.h"
#include "transfer_test.h"

/* ---- cancelling, from wherever it may be done */

struct scene {
    struct transfer *victim;
    struct transfers *loop;
    bool on_head;      /* when to cancel */
    unsigned victim_calls_afterwards;
    struct transfer_request again;
    struct outcome *second;
};

static int victim_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    (void)head, (void)data, (void)length;
    struct scene *scene = context;
    scene->victim_calls_afterwards += !scene->victim;
    return 0;
}

static void victim_done(void *context, int error, const struct transfer_result *result)
{
    (void)context, (void)error, (void)result;
    abort(); /* it does not end by itself, and once cancelled it must not */
}

static const struct transfer_ops victim_ops = {.on_data = victim_data, .on_done = victim_done};

static void cancel_victim(struct scene *scene)
{
    if (scene->victim) {
        transfer_cancel(scene->victim);
        scene->victim = NULL;
        test_start_on_loop(scene->loop, &scene->again, &scene->second); /* starting from a callback is as safe */
    }
}

static int canceller_head(void *context, const struct transfer_head *head)
{
    (void)head;
    struct scene *scene = context;
    if (scene->on_head) {
        cancel_victim(scene);
    }
    return 0;
}

static int canceller_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    (void)head, (void)data, (void)length;
    cancel_victim(context);
    return 0;
}

static void canceller_done(void *context, int error, const struct transfer_result *result)
{
    (void)error, (void)result;
    cancel_victim(context);
    test_loop_signal();
}

static void test_cancel_from_other_callbacks(void **state)
{
    (void)state;
    static const struct {
        const char *victim, *canceller;
        bool on_head;
    } cases[] = {{"/plain", "/plain", true}, {"/plain", "/plain", false}, {"/stall", "/plain", false},
                 {"/silence", "/empty", false}, {"/hop?3", "/empty", true}, {"/plain", "/short", false}};
    static const struct transfer_ops canceller_ops = {canceller_head, canceller_data, canceller_done};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct scene scene = {.loop = test_loop(), .on_head = cases[i].on_head, .again = origin_get("/plain")};
        struct transfer_request victim = origin_get(cases[i].victim), canceller = origin_get(cases[i].canceller);
        victim.max_rate = 256 * 1024; /* far from its end when it is cancelled */
        test_start_pair(&victim, &victim_ops, &scene.victim, &canceller, &canceller_ops, &scene);
        test_loop_wait();
        assert_int_equal(scene.victim_calls_afterwards, 0);
        test_wait_outcome(scene.second);
        assert_int_equal(scene.second->error, 0);
        assert_int_equal(scene.second->length, ORIGIN_PLAIN);
        outcome_free(scene.second);
    }
}

/* ---- the loop */

struct notes {
    struct transfers *loop;
    char text[32];
    size_t length;
    struct transfer_timer *doomed;
};

static struct notes notes;
static char letter_p[] = "p";

static void note(void *letter)
{
    notes.text[notes.length++] = *(const char *)letter;
}

static void signal_loop(void *unused)
{
    (void)unused;
    test_loop_signal();
}

static void cancel_doomed(void *unused)
{
    (void)unused;
    transfers_timer_cancel(notes.loop, notes.doomed);
}

/* A timer of MS that notes LETTER. */
static struct transfer_timer *timer_in(uint64_t ms, void (*fn)(void *), const char *letter)
{
    static char letters[] = "abcxy";
    struct transfer_timer *timer;
    int r = transfers_timer(notes.loop, ms, fn, strchr(letters, *letter), &timer);
    assert(r == 0);
    return timer;
}

static void set_timers(void *unused)
{
    (void)unused;
    timer_in(40, signal_loop, "");
    timer_in(20, note, "c");
    timer_in(5, note, "a");
    timer_in(5, note, "b");
    notes.doomed = timer_in(30, note, "x");
    timer_in(10, cancel_doomed, "");
    transfers_timer_cancel(notes.loop, timer_in(UINT64_MAX, note, "y"));
    transfers_timer_cancel(notes.loop, NULL);
}

static void test_timers(void **state)
{
    (void)state;
    notes = (struct notes){.loop = test_loop()};
    assert_int_equal(transfers_post(notes.loop, set_timers, NULL), 0);
    test_loop_wait();
    assert_string_equal(notes.text, "abc");
}

static void test_posts_keep_their_order(void **state)
{
    (void)state;
    notes = (struct notes){.loop = test_loop()};
    static char letters[] = "the quick brown fox";
    for (size_t i = 0; letters[i]; i++) {
        assert_int_equal(transfers_post(notes.loop, note, &letters[i]), 0);
    }
    assert_int_equal(transfers_post(notes.loop, signal_loop, NULL), 0);
    test_loop_wait();
    assert_string_equal(notes.text, letters);
}

static void post_again(void *unused)
{
    (void)unused;
    int r = transfers_post(notes.loop, note, letter_p);
    assert(r == 0);
}

static void test_stop(void **state)
{
    (void)state;
    struct transfer_request request = origin_get("/stall");
    struct outcome *waiting = test_start(&request);
    test_wait_head(waiting);
    notes = (struct notes){.loop = test_loop()};
    transfers_stop(notes.loop);
    int posted = transfers_post(notes.loop, post_again, NULL); /* in time, or not */
    test_wait_outcome(waiting);
    assert_int_equal(waiting->error, -ECANCELED);
    outcome_free(waiting);
    test_loop_join();
    assert_int_equal(transfers_post(notes.loop, note, letter_p), -ECANCELED);
    assert_string_equal(notes.text, posted == 0 ? "p" : "");
}

static void test_free_without_run(void **state)
{
    (void)state;
    struct transfers *t;
    struct outcome *outcome;
    struct transfer_request request = origin_get("/plain");
    assert_int_equal(transfers_new(test_config(), &t), 0);
    test_start_on_loop(t, &request, &outcome);
    notes = (struct notes){.loop = t};
    assert_int_equal(transfers_post(t, note, letter_p), 0);
    transfers_free(t);
    assert_int_equal(outcome->error, -ECANCELED);
    assert_string_equal(notes.text, "p");
    outcome_free(outcome);
    transfers_free(NULL);
}

/* ---- on the caller's thread */

static void test_perform(void **state)
{
    (void)state;
    unsigned before = http_server_connections(origin);
    for (int i = 0; i < 3; i++) {
        struct transfer_request request = origin_get("/plain");
        struct outcome *outcome = test_perform_outcome(&request);
        assert_int_equal(outcome->error, 0);
        assert_true(outcome->length == ORIGIN_PLAIN && test_is_pattern(outcome->data, 0, ORIGIN_PLAIN));
        outcome_free(outcome);
    }
    assert_int_equal(http_server_connections(origin), before + 1);
    struct transfer_request wrong = {.url = strdup("gopher://127.0.0.1/")};
    struct outcome *outcome = test_perform_outcome(&wrong);
    assert_int_equal(outcome->error, -EINVAL);
    outcome_free(outcome);
}

static void *perform_stall(void *ret)
{
    struct transfer_request request = origin_get("/stall");
    *(struct outcome **)ret = test_perform_outcome(&request);
    return NULL;
}

static void test_stop_ends_performers(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    struct outcome *outcomes[THREADS];
    unsigned before = http_server_requests(origin, "/stall");
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, perform_stall, &outcomes[i]), 0);
    }
    while (http_server_requests(origin, "/stall") < before + THREADS) {
        sched_yield();
    }
    transfers_stop(test_loop());
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(outcomes[i]->error, -ECANCELED);
        outcome_free(outcomes[i]);
    }
    struct transfer_request request = origin_get("/plain");
    struct outcome *late = test_perform_outcome(&request);
    assert_int_equal(late->error, -ECANCELED);
    outcome_free(late);
    test_loop_join();
}

int main(void)
{
#define IN_LOOP(test) cmocka_unit_test_setup_teardown(test, origin_start, origin_stop)
    const struct CMUnitTest tests[] = {
        IN_LOOP(test_cancel_from_other_callbacks),
        IN_LOOP(test_timers),
        IN_LOOP(test_posts_keep_their_order),
        IN_LOOP(test_stop),
        IN_LOOP(test_free_without_run),
        IN_LOOP(test_perform),
        IN_LOOP(test_stop_ends_performers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
