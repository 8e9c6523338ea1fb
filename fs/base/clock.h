/* SPDX-License-Identifier: Apache-2.0 */
/* The two clocks, in nanoseconds. Pure; any thread. */
#ifndef GCFS_CLOCK_H
#define GCFS_CLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

/* Since 1970; what the catalogue and stat(2) show. */
static inline int64_t clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Was WHEN (of that clock) less than SPAN ns ago? Not when it lies ahead: the clock was set back since, and nothing can be said of it. */
static inline bool clock_recent(int64_t when, int64_t span)
{
    int64_t age = clock_now() - when;
    return age >= 0 && age < span;
}

/* For durations and time-outs. */
static inline int64_t clock_monotonic(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * NS_PER_S + t.tv_nsec;
}

#endif
