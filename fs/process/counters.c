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

const double FETCH_SECONDS[] = {0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000};

void ledger_count_fetch(struct ledger *l, double seconds)
{
    unsigned i = 0, bounds = sizeof(FETCH_SECONDS) / sizeof(FETCH_SECONDS[0]);
    while (i < bounds && seconds > FETCH_SECONDS[i])
        i++;
    ledger_count(l, COUNT_FETCH_LE + i, 1);
    ledger_count(l, COUNT_FETCH_MS, (uint64_t)(seconds * 1000));
}

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
