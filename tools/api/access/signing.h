/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links that carry their own permission: Swift's TempURL, as Ironic makes them. A signature by a key that both know is good for one image, or
 * for all whose names begin alike, until a time. Any thread; the lock inside is a leaf.
 */
#ifndef GCFS_API_SIGNING_H
#define GCFS_API_SIGNING_H

#include "api/http/api.h"

struct signing;

/* PATH: a file with one line, the key; NULL: no link is good. -errno, logged. */
int signing_new(const char *path, struct signing **ret);
void signing_free(struct signing *s); /* NULL is fine */
int signing_reload(struct signing *s); /* on -errno, logged, the old key stays */
bool signing_has_key(struct signing *s);

/*
 * Is R, of the path /v1/ACCOUNT/CONTAINER/ID, signed? temp_url_sig is the HMAC by SHA-1, 256 or 512, in hex, of METHOD, temp_url_expires (seconds
 * since 1970) and the path, a line each, as Swift has it; with temp_url_prefix the path is that far. A signature for GET is good for HEAD.
 * NULL, or why not.
 */
const char *signing_refuses(struct signing *s, const struct request *r);

#endif
