/* SPDX-License-Identifier: Apache-2.0 */
/* The tail of an image is being dropped from the kernel's cache. */
#ifndef GCFS_ENGINE_IMAGES_TAIL_H
#define GCFS_ENGINE_IMAGES_TAIL_H

#include "engine/images/image.h"

struct hiding {
    struct engine *engine;
    int64_t row;
};

#endif
