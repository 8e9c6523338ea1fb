/* SPDX-License-Identifier: Apache-2.0 */
/* See transfer_test.h. One lock and one condition for all that the threads tell each other. */
#include "config-auto.h"

#include "transfer_test.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition) ((condition) ? (void)0 : fail_here(#condition, __LINE__))

_Noreturn static void fail_here(const char *what, int line)
{
    fprintf(stderr, "%s:%d: %s\n", __FILE__, line, what);
    abort();
}

static const struct config config = {.connect_timeout = 5, .stall_timeout = 1, .stall_rate = TEST_STALL_RATE};
static struct transfers *loop;
static pthread_t loop_thread;
static bool loop_joined;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned signals;    /* protected by lock */
static unsigned data_calls; /* protected by lock */

static void *run_loop(void *t)
{
    CHECK(transfers_run(t) == 0);
    return NULL;
}

int test_loop_start(void **state)
{
    (void)state;
    signals = data_calls = 0;
    loop_joined = false;
    unsetenv("http_proxy"); /* of whoever runs the tests */
    unsetenv("all_proxy");
    unsetenv("ALL_PROXY");
    return transfers_new(&config, &loop) < 0 || pthread_create(&loop_thread, NULL, run_loop, loop) != 0 ? -1 : 0;
}

void test_loop_join(void)
{
    pthread_join(loop_thread, NULL);
    loop_joined = true;
}

int test_loop_stop(void **state)
{
    (void)state;
    transfers_stop(loop);
    if (!loop_joined) {
        test_loop_join();
    }
    transfers_free(loop);
    return 0;
}

struct transfers *test_loop(void)
{
    return loop;
}

const struct config *test_config(void)
{
    return &config;
}

void test_loop_signal(void)
{
    pthread_mutex_lock(&lock);
    signals++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void test_loop_wait(void)
{
    pthread_mutex_lock(&lock);
    while (signals == 0) {
        pthread_cond_wait(&changed, &lock);
    }
    signals--;
    pthread_mutex_unlock(&lock);
}

/* ---- callbacks that keep everything */

static int keep_head(void *context, const struct transfer_head *head)
{
    struct outcome *outcome = context;
    CHECK(!outcome->done && outcome->calls == 0);
    outcome->head = *head;
    outcome->head.transfer = NULL;
    const char *value = outcome->ask ? transfer_head_get(head, outcome->ask) : NULL;
    outcome->header = value ? strdup(value) : NULL;
    pthread_mutex_lock(&lock);
    outcome->heads++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return outcome->head_error;
}

static int keep_data(void *context, const struct transfer_head *head, const void *data, size_t length)
{
    struct outcome *outcome = context;
    CHECK(!outcome->done && outcome->heads == 1 && length > 0 && head->status == outcome->head.status);
    outcome->data = realloc(outcome->data, outcome->length + length);
    CHECK(outcome->data);
    memcpy(outcome->data + outcome->length, data, length);
    outcome->length += length;
    outcome->calls++;
    pthread_mutex_lock(&lock);
    outcome->order = data_calls++;
    pthread_mutex_unlock(&lock);
    return outcome->data_error;
}

static void keep_end(void *context, int error, const struct transfer_result *result)
{
    struct outcome *outcome = context;
    CHECK(!outcome->done && result->received == outcome->length);
    outcome->error = error;
    outcome->result = *result;
    pthread_mutex_lock(&lock);
    outcome->done = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static const struct transfer_ops keep_ops = {keep_head, keep_data, keep_end};

/* ---- starting and waiting */

static struct outcome *new_outcome(struct transfer_request *request)
{
    struct outcome *outcome = calloc(1, sizeof *outcome);
    CHECK(outcome);
    outcome->request = *request;
    *request = (struct transfer_request){0};
    return outcome;
}

static void start_outcome(void *context)
{
    struct outcome *outcome = context;
    CHECK(transfer_start(loop, &outcome->request, &keep_ops, outcome, &outcome->transfer) == 0);
    CHECK(outcome->heads == 0 && !outcome->done);
}

void test_wait_outcome(struct outcome *outcome)
{
    pthread_mutex_lock(&lock);
    while (!outcome->done) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

void test_wait_head(struct outcome *outcome)
{
    pthread_mutex_lock(&lock);
    while (outcome->heads == 0) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
}

static struct outcome *fetch(struct outcome *outcome)
{
    CHECK(transfers_post(loop, start_outcome, outcome) == 0);
    test_wait_outcome(outcome);
    return outcome;
}

struct outcome *test_fetch(struct transfer_request *request)
{
    return fetch(new_outcome(request));
}

struct outcome *test_fetch_asking(struct transfer_request *request, const char *header)
{
    struct outcome *outcome = new_outcome(request);
    outcome->ask = header;
    return fetch(outcome);
}

struct outcome *test_fetch_failing(struct transfer_request *request, int head_error, int data_error)
{
    struct outcome *outcome = new_outcome(request);
    outcome->head_error = head_error;
    outcome->data_error = data_error;
    return fetch(outcome);
}

struct outcome *test_start(struct transfer_request *request)
{
    struct outcome *outcome = new_outcome(request);
    CHECK(transfers_post(loop, start_outcome, outcome) == 0);
    return outcome;
}

struct batch {
    struct outcome **outcomes;
    size_t count;
};

static void start_batch(void *context)
{
    struct batch *batch = context;
    for (size_t i = 0; i < batch->count; i++) {
        start_outcome(batch->outcomes[i]);
    }
}

void test_fetch_all(struct transfer_request *requests, size_t count, struct outcome **ret)
{
    struct batch batch = {ret, count};
    for (size_t i = 0; i < count; i++) {
        ret[i] = new_outcome(&requests[i]);
    }
    CHECK(transfers_post(loop, start_batch, &batch) == 0);
    for (size_t i = 0; i < count; i++) {
        test_wait_outcome(ret[i]);
    }
}

struct outcome *test_perform_outcome(struct transfer_request *request)
{
    struct outcome *outcome = new_outcome(request);
    int r = transfer_perform(loop, &outcome->request, &keep_ops, outcome);
    CHECK(outcome->done && r == outcome->error);
    return outcome;
}

void test_start_on_loop(struct transfers *t, struct transfer_request *request, struct outcome **ret)
{
    struct outcome *outcome = *ret = new_outcome(request);
    CHECK(transfer_start(t, &outcome->request, &keep_ops, outcome, &outcome->transfer) == 0);
}

struct pair {
    struct transfer_request *requests[2];
    const struct transfer_ops *ops[2];
    struct transfer **ret_first;
    void *context;
};

static void start_pair(void *context)
{
    struct pair *pair = context;
    struct transfer *second;
    CHECK(transfer_start(loop, pair->requests[0], pair->ops[0], pair->context, pair->ret_first) == 0);
    CHECK(transfer_start(loop, pair->requests[1], pair->ops[1], pair->context, &second) == 0);
    transfer_request_clear(pair->requests[0]);
    transfer_request_clear(pair->requests[1]);
    free(pair);
}

void test_start_pair(struct transfer_request *a, const struct transfer_ops *a_ops, struct transfer **ret_a,
                     struct transfer_request *b, const struct transfer_ops *b_ops, void *context)
{
    struct pair *pair = malloc(sizeof *pair);
    CHECK(pair);
    *pair = (struct pair){{a, b}, {a_ops, b_ops}, ret_a, context};
    CHECK(transfers_post(loop, start_pair, pair) == 0);
}

struct attempt {
    const struct transfer_request *request;
    int error;
};

static void attempt_start(void *context)
{
    struct attempt *attempt = context;
    struct transfer *transfer;
    attempt->error = transfer_start(loop, attempt->request, &keep_ops, NULL, &transfer);
    test_loop_signal();
}

int test_start_error(const struct transfer_request *request)
{
    struct attempt attempt = {request, 0};
    CHECK(transfers_post(loop, attempt_start, &attempt) == 0);
    test_loop_wait();
    return attempt.error;
}

void outcome_free(struct outcome *outcome)
{
    free(outcome->data);
    free(outcome->header);
    transfer_request_clear(&outcome->request);
    free(outcome);
}

/* ---- bytes */

static char pattern_byte(uint64_t at)
{
    return (char)(at * 31 + (at >> 8) * 7 + (at >> 16));
}

char *test_pattern(uint64_t first, size_t length)
{
    char *data = malloc(length ? length : 1);
    CHECK(data);
    for (size_t i = 0; i < length; i++) {
        data[i] = pattern_byte(first + i);
    }
    return data;
}

bool test_is_pattern(const char *data, uint64_t first, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (data[i] != pattern_byte(first + i)) {
            return false;
        }
    }
    return true;
}
