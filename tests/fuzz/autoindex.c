/* SPDX-License-Identifier: Apache-2.0 */
/* A web server's listing in JSON, and what a server sends in its place. */
#include "config-auto.h"

#include "listing.h"

static int make(listing_fn *fn, void *context, struct listing **ret)
{
    static char *not_images[] = {(char *) "SHA256SUMS", NULL};
    return listing_new_web(true, not_images, fn, context, ret);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_listing(make, data, size);
    return 0;
}
