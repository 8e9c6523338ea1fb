/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over what lies in the cache directory at the start. */
#ifndef GCFS_ENGINE_ADOPT_H
#define GCFS_ENGINE_ADOPT_H

#include "engine/images/shared.h"

int adopted_new(struct adopted **ret); /* -ENOMEM */
void adopted_free(struct adopted *a);  /* NULL is fine */

int adopt_start(struct engine *e); /* a thread of its own, which ends when all is done. -EAGAIN, -ENOMEM */

struct adopted_count { uint64_t files, bytes; bool under_way; }; /* files there that the backend does not know; they are being looked at */
struct adopted_count adopted_count(struct engine *e); /* any thread */

#endif
