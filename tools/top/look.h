/* SPDX-License-Identifier: Apache-2.0 */
/* One look at a cache, over its mount or over HTTP, as one document. One thread; blocks. */
#ifndef GCFS_TOP_LOOK_H
#define GCFS_TOP_LOOK_H

#include <jansson.h>

#include "common/find_mount.h"

enum { LOOK_IMAGES = 10, LOOK_INVALID = 10 };

/*
 * The document: "where" (mount point or url), "time" (seconds since 1970), "cache" (what .status holds), "busiest" (at most LOOK_IMAGES
 * cached images, those open by most first, then those read last: image, size, open, hits, last_accessed, pinned) and "invalid" (at most
 * LOOK_INVALID: image, reason). json_decref() it. A negative errno, logged: -ENOENT, -EACCES, -EIO, -ENOTCONN.
 */
int look_at_mount(const struct cache_mount *mount, json_t **ret);

/* The same from glance-cache-api at URL ("http://host:9292"), with TOKEN as X-Auth-Token and CA_FILE in place of the system's authorities;
 * both may be NULL. "open" is missing where it does not tell. -EACCES, -EHOSTUNREACH, -EPROTO. */
int look_at_url(const char *url, const char *token, const char *ca_file, json_t **ret);

/* The first LOOK_IMAGES of a list of images (taken over), those open by most first, then those read last. */
json_t *look_busiest(json_t *list);

#endif
