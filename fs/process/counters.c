/* SPDX-License-Identifier: Apache-2.0 */
/* What else lies in the ledger: counters since the mount, each an atomic, and INIT, written once before anybody reads it. No lock. */
#include "config-auto.h"

#include <assert.h>
#include <string.h>

#include "process/private.h"

void ledger_count(struct ledger *l, enum ledger_counter counter, uint64_t n)
{
    atomic_fetch_add_explicit(&l->shared->counters[counter], n, memory_order_relaxed);
}

const char *const LEDGER_REASONS[REASON_COUNT] = {"unreachable", "timeout", "broken", "refused", "server", "nonsense"};

void ledger_count_failure(struct ledger *l, enum ledger_reason reason)
{
    static_assert(COUNT_REASONS + REASON_COUNT == (int)COUNT_DURATIONS, "a counter for each reason");
    ledger_count(l, COUNT_BACKEND_ERRORS, 1);
    ledger_count(l, COUNT_REASONS + reason, 1);
}

/* ---- durations */

enum { DURATION_SIZE = LEDGER_CLASSES + 1 }; /* counters of one: its classes, and the sum */
static_assert(COUNT_DURATIONS + DURATION_COUNT * DURATION_SIZE == COUNT_END, "counters for each duration");
static_assert(COUNT_END <= sizeof(((struct shared *)NULL)->counters) / sizeof(uint64_t), "the counters fit");

static enum ledger_counter duration_counter(enum ledger_duration duration, unsigned i)
{
    return COUNT_DURATIONS + (unsigned)duration * DURATION_SIZE + i;
}

const double *ledger_bounds(enum ledger_duration duration)
{
    static const double fetch[LEDGER_CLASSES - 1] = {0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000},
                        answer[LEDGER_CLASSES - 1] = {0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30},
                        read[LEDGER_CLASSES - 1] = {0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 10};
    return duration == DURATION_FETCH ? fetch : duration == DURATION_FIRST_BYTE ? answer : read;
}

void ledger_measure(struct ledger *l, enum ledger_duration duration, int64_t ns)
{
    const double *bounds = ledger_bounds(duration);
    double seconds = ns > 0 ? (double)ns / 1e9 : 0;
    unsigned i = 0;
    while (i < LEDGER_CLASSES - 1 && seconds > bounds[i])
        i++;
    ledger_count(l, duration_counter(duration, i), 1);
    ledger_count(l, duration_counter(duration, LEDGER_CLASSES), ns > 0 ? (uint64_t)ns / 1000 : 0);
}

uint64_t ledger_class(struct ledger *l, enum ledger_duration duration, unsigned class)
{
    assert(class < LEDGER_CLASSES);
    return ledger_counter(l, duration_counter(duration, class));
}

double ledger_sum(struct ledger *l, enum ledger_duration duration)
{
    return (double)ledger_counter(l, duration_counter(duration, LEDGER_CLASSES)) / 1e6;
}

/* ---- the rest */

uint64_t ledger_counter(struct ledger *l, enum ledger_counter counter)
{
    return atomic_load_explicit(&l->shared->counters[counter], memory_order_relaxed);
}

int64_t ledger_mounted_at(struct ledger *l)
{
    return l->shared->mounted_at;
}

void ledger_put_init(struct ledger *l, const void *request, size_t length, uint64_t agreed)
{
    assert(length <= LEDGER_INIT_MAX);
    memcpy(l->shared->init, request, length);
    l->shared->init_agreed = agreed;
    atomic_store(&l->shared->init_length, (uint32_t)length);
}

size_t ledger_get_init(struct ledger *l, void *request, size_t size, uint64_t *ret_agreed)
{
    size_t length = atomic_load(&l->shared->init_length);
    if (length == 0 || length > size)
        return 0;
    memcpy(request, l->shared->init, length);
    *ret_agreed = l->shared->init_agreed;
    return length;
}
