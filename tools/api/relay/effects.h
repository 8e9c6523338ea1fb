/* SPDX-License-Identifier: Apache-2.0 */
/* What a change at Glance changes here. No state; any thread. */
#ifndef GCFS_API_EFFECTS_H
#define GCFS_API_EFFECTS_H

#include "api/http/api.h"

/* The path is split: names the call for the audit, and its image, where it is a change. */
void effects_name(struct request *r);
/*
 * Glance has done it, and the client does not know yet; or nobody knows whether it has. What was found out about the image is forgotten, what Glance said of it too; its bytes go from the cache
 * when they may be others now, or are refused to all. Blocks on the mount; what fails is logged.
 */
void effects_apply(struct request *r);
/* Is it an upload of an image's bytes? After effects_name(). */
bool effects_is_upload(const struct request *r);

#endif
