/* SPDX-License-Identifier: Apache-2.0 */
#include "config-auto.h"

#include "engine/images/account.h"

void space_count(struct image *image, int64_t unwritten, int64_t reserved)
{
    if (image->through)
        return;
    image->unwritten += unwritten;
    atomic_fetch_add(&image->engine->unwritten, unwritten);
    atomic_fetch_add(&image->engine->reserved, reserved);
}
