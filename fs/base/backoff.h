/* SPDX-License-Identifier: Apache-2.0 */
/* Pauses between tries. Pure. */
#ifndef GCFS_BACKOFF_H
#define GCFS_BACKOFF_H

#include <stdint.h>

enum { BACKOFF_MAX_S = 10 }; /* somebody may wait; in glance-cache.conf(5) */

/* Milliseconds before try number TRIES (1, 2, …): BASE doubled each time, at most BACKOFF_MAX_S, the last quarter of it random (RANDOM). */
uint64_t backoff_ms(uint64_t base, unsigned tries, uint32_t random);

#endif
