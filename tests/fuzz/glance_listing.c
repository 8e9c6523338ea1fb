/* SPDX-License-Identifier: Apache-2.0 */
/* A page of Glance's images. */
#include "config-auto.h"

#include "listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_listing(listing_new_glance, data, size);
    return 0;
}
