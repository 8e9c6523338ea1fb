/* SPDX-License-Identifier: Apache-2.0 */
/* Times of access while the machine's clock is set. */
#ifndef GCFS_ENGINE_EVICT_AGES_H
#define GCFS_ENGINE_EVICT_AGES_H

#include "engine/images/shared.h"

int ages_new(struct ages **ret); /* -ENOMEM */
void ages_free(struct ages *a);  /* NULL is fine */

void ages_start(struct engine *e); /* before anything is read: that is newer than all there is */
void ages_tick(struct engine *e);  /* on the rows thread, before anything expires */

#endif
