/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_url = file: programs of this host are told where an image's file is in the mount, in the terms that Glance has for it, so that they
 * read it there. To who is let at the bytes, and to nobody else: reading them there asks no policy.
 */
#ifndef GCFS_API_LOCATION_H
#define GCFS_API_LOCATION_H

#include <stdbool.h>
#include <stddef.h>

#include "api/http/api.h"

/* Is it the configuration's wish, does the client come from this host, and is the record ours to answer? */
bool location_offered(const struct request *r);
/*
 * Adds "direct_url" and "locations" to the JSON text *BODY, a record of the image ID, where they are offered and the caller may have the bytes.
 * Else, and without memory, it stays. May block on Glance.
 */
void location_add(struct request *r, const char *id, char **body, size_t *length);

#endif
