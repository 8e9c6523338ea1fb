/* SPDX-License-Identifier: Apache-2.0 */
/* A page of a Swift container; few names a page, so that there is a marker. */
#include "config-auto.h"

#include "listing.h"

static int make(listing_fn *fn, void *context, struct listing **ret)
{
    return listing_new_swift("", 2, NULL, fn, context, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_listing(make, data, size);
    return 0;
}
