/* SPDX-License-Identifier: Apache-2.0 */
/* Counters of .status as they were, for what happened in the last minute and hour. A plain value; one thread. */
#ifndef GCFS_TOP_SAMPLES_H
#define GCFS_TOP_SAMPLES_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sample {
    int64_t at; /* monotonic, nanoseconds */
    uint64_t hits, misses, bytes_fetched, backend_errors, evictions;
};

enum { SAMPLES = 1024, SAMPLE_LEAST_S = 4 }; /* an hour and more of them */

struct samples {
    struct sample ring[SAMPLES];
    size_t next, count;
    struct sample latest; /* of every look, also when it came too soon for the ring */
};

/* STATUS as it is at AT. Counters that went back (another mount) make everything begin anew. */
void samples_add(struct samples *s, const json_t *status, int64_t at);
/*
 * What was counted in the last SECONDS, as far as there are samples: *ret_ns is the time between the two. False: there are no two of them
 * yet.
 */
bool samples_over(const struct samples *s, unsigned seconds, struct sample *ret, int64_t *ret_ns);

#endif
