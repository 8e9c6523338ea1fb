/* SPDX-License-Identifier: Apache-2.0 */
/* Boot sets as a source of what is asked for next. */
#ifndef GCFS_ENGINE_FETCH_REPLAYS_H
#define GCFS_ENGINE_FETCH_REPLAYS_H

#include "engine/fetch/choose.h"
#include "engine/images/image.h"

/* Is there something left of its boot set that could be asked for? On the fetch thread; any lock. */
bool replays_wants(const struct image *image);
/* On the fetch thread, with image->lock held; C looks at IMAGE. False: there is nothing to ask for now. */
bool replays_choose_locked(struct image *image, const struct choice *c, struct span *ret);

#endif
