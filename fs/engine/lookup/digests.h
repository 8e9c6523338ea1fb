/* SPDX-License-Identifier: Apache-2.0 */
/* Digests that are published beside the images. */
#ifndef GCFS_ENGINE_LOOKUP_DIGESTS_H
#define GCFS_ENGINE_LOOKUP_DIGESTS_H

#include "engine/images/image.h"
#include "engine/lookup/signed.h"

int published_new(struct published **ret); /* -ENOMEM */
void published_free(struct published *p);  /* NULL is fine */

void published_settle(struct image *image); /* any thread: have meta.digest settled, then say that it changed */
int published_digest_now(struct engine *e, const char *name, struct digest *ret); /* waits for it; -ENOENT: none is published */
void published_why(struct engine *e, char ret[SIGNED_WHY_MAX]); /* any thread: why what is published is not believed; "" */
void published_distrust(struct engine *e); /* any thread: read them anew for the next image */

#endif
