/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsers of listings that come in pages: Glance's and Swift's JSON, S3's XML. All are read as they come. Pure; a parser belongs to one thread.
 */
#ifndef GCFS_LISTING_PAGES_H
#define GCFS_LISTING_PAGES_H

#include <jansson.h>

#include "backends/listing/listing.h"

/* One image of Glance's v2 API: a document, or an element of its list. Fills size, digest, title and disk format; the rest is
 * empty. -ENOENT: it is not active, so that there are no bytes to be had; -EPROTO. */
int glance_image(const json_t *image, struct image_meta *ret);

/* {"images": […], "next": "/v2/images?…"}; told are the active ones, with their metadata. The marker is the last one's id. */
int listing_new_glance(listing_fn *fn, void *context, struct listing **ret);

/*
 * [{"name": "PREFIXid", "bytes": 1}, …] of Swift (format=json). A page with anything in it has another behind it, its marker the last
 * name, as servers have limits of their own; the end is an empty one, with NO_CONTENT also one without as much as a list. Names of NOT_IMAGES (NULL-terminated) are passed over. PREFIX and NOT_IMAGES must
 * outlive the parser. "bytes": 0 may be a large object's manifest, so that the size is not told.
 */
int listing_new_swift(const char *prefix, bool no_content, char *const *not_images, listing_fn *fn, void *context,
                      struct listing **ret);

/*
 * ListBucketResult of S3 (ListObjectsV2, and V1 where the server knows no other), keys encoded or not as it says; prefix and names as above.
 * The marker is the continuation token; without one, LISTING_S3_KEY and the key that the next page follows.
 */
#define LISTING_S3_KEY "\n"
int listing_new_s3(const char *prefix, char *const *not_images, listing_fn *fn, void *context, struct listing **ret);

/* NAME without PREFIX, when it has that, is a valid id and none of NOT_IMAGES; NULL. */
const char *listing_id_of(const char *name, const char *prefix, char *const *not_images);

enum { LISTING_PAGE_MAX = 32 << 20 }; /* bytes of a JSON page; a longer one is -EPROTO */

#endif
