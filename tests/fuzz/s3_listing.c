/* SPDX-License-Identifier: Apache-2.0 */
/* A page of an S3 bucket. */
#include "config-auto.h"

#include "listing.h"

static int make(listing_fn *fn, void *context, struct listing **ret)
{
    return listing_new_s3("images/", NULL, fn, context, ret);
}

static int make_without_prefix(listing_fn *fn, void *context, struct listing **ret)
{
    return listing_new_s3("", NULL, fn, context, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_listing(size % 2 ? make : make_without_prefix, data, size);
    return 0;
}
