/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of transfers share: a loop on a thread of its own, and requests whose whole answer is kept and waited
 * for. cmocka's checks are for the test's own thread; on the loop, and in callbacks, abort() says what is wrong.
 */
#ifndef GCFS_TRANSFER_TEST_H
#define GCFS_TRANSFER_TEST_H

#include "transfer/transfer.h"

enum { TEST_STALL_RATE = 256 * 1024 };

struct outcome { /* of one transfer; filled on its thread, to be read after test_wait_outcome() */
    struct transfer_head head; /* without .transfer */
    unsigned heads, calls;     /* on_head, on_data */
    char *data;
    size_t length;
    const char *ask;           /* a header to keep */
    char *header;              /* its value; NULL */
    int head_error, data_error; /* what the callbacks return */
    int error;
    struct transfer_result result;
    unsigned order;            /* how many calls of on_data, of any transfer, were before the last one of this */
    struct transfer *transfer;
    struct transfer_request request;
    bool done;                 /* protected by the lock of the tests, as is heads */
};

/* setup and teardown of a test: a loop that runs. */
int test_loop_start(void **state);
int test_loop_stop(void **state);
void test_loop_join(void); /* after transfers_stop() */
struct transfers *test_loop(void);
const struct config *test_config(void);
/* One signal from the loop, waited for once. */
void test_loop_signal(void);
void test_loop_wait(void);

/* These take the request over: it is cleared with the outcome. */
struct outcome *test_fetch(struct transfer_request *request); /* start to end */
struct outcome *test_fetch_asking(struct transfer_request *request, const char *header);
struct outcome *test_fetch_failing(struct transfer_request *request, int head_error, int data_error);
void test_fetch_all(struct transfer_request *requests, size_t count, struct outcome **ret); /* all started at once */
struct outcome *test_start(struct transfer_request *request);
struct outcome *test_perform_outcome(struct transfer_request *request);
void test_start_on_loop(struct transfers *t, struct transfer_request *request, struct outcome **ret); /* on the loop */
/* Both at once on the loop, with CONTEXT; then the requests are cleared. */
void test_start_pair(struct transfer_request *a, const struct transfer_ops *a_ops, struct transfer **ret_a,
                     struct transfer_request *b, const struct transfer_ops *b_ops, void *context);
int test_start_error(const struct transfer_request *request); /* what transfer_start() says; nothing is taken over */

void test_wait_head(struct outcome *outcome);
void test_wait_outcome(struct outcome *outcome);
void outcome_free(struct outcome *outcome);

/* Bytes that tell their place: LENGTH of them from FIRST. */
char *test_pattern(uint64_t first, size_t length);
bool test_is_pattern(const char *data, uint64_t first, size_t length);

#endif
