/* SPDX-License-Identifier: Apache-2.0 */
/* Who goes. On the rows thread; blocks on the disk. */
#ifndef GCFS_ENGINE_EVICT_VICTIMS_H
#define GCFS_ENGINE_EVICT_VICTIMS_H

#include "engine/images/shared.h"

int victims_new(struct victims **ret); /* -ENOMEM */
void victims_free(struct victims *v);  /* NULL is fine */

uint64_t victims_evict(struct engine *e, uint64_t need); /* until NEED bytes are freed, or nobody is left who may go: how many were */
void victims_expire(struct engine *e); /* cache_ttl */
void victims_hold(struct engine *e, int64_t until); /* nobody expires before that, monotonic */

#endif
