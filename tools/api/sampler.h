/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that looks at the cache now and then, for the history. It is a thread of its own because a cache that hangs holds up who looks at
 * it: everything else, the end of the process too, goes on.
 */
#ifndef GCFS_API_SAMPLER_H
#define GCFS_API_SAMPLER_H

#include "api/http/api.h"

struct sampler;

struct sampler *sampler_start(struct api *api); /* NULL: no memory, no thread */
/* Waits for a look that is under way, as long as the cache hangs. NULL is fine. */
void sampler_stop(struct sampler *s);

#endif
