/* SPDX-License-Identifier: Apache-2.0 */
/* Over how many connections all of an image is fetched. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_LANES_H
#define GCFS_ENGINE_FETCH_LANES_H

#include "engine/images/image.h"

unsigned lanes_of(const struct image *image); /* how many it may use now */
void lanes_begin(struct image *image);        /* a request was made while all of it is wanted */
void lanes_end(struct image *image);

#endif
