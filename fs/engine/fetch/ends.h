/* SPDX-License-Identifier: Apache-2.0 */
/* Ends of a fetch that are not good. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_ENDS_H
#define GCFS_ENGINE_FETCH_ENDS_H

#include "engine/images/image.h"

void fetch_fail(struct image *image, int status, const char *why); /* give up for now; readers get STATUS */
void fetch_give_up(struct image *image); /* the same, with image->failure, for image->error */
void fetch_changed(struct image *image, const char *what);         /* another version at the backend */

#endif
