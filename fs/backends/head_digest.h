/* SPDX-License-Identifier: Apache-2.0 */
/* Digests of an image that an answer carries in its headers. Pure; any thread. */
#ifndef GCFS_HEAD_DIGEST_H
#define GCFS_HEAD_DIGEST_H

#include "image/digest.h"
#include "transfer/transfer.h"

/*
 * The strongest digest of the whole image in the headers of HEAD, the answer (200 or 206) to a GET of the image or of
 * its first bytes, or to HEAD; DIGEST_NONE when there is none. Understood are
 *   Repr-Digest (RFC 9530) and Digest (RFC 3230): of the whole, whatever part the answer carries;
 *   X-Glance-Cache-Hash: "sha512=<hex>", likewise;
 *   Content-MD5: in hex, as Glance sends it, likewise; in base64 (RFC 1864) it is of the body, and taken when that is
 * the whole.
 */
struct digest head_digest(const struct transfer_head *head);

/* Fills *ret from the base64 value at TEXT, LENGTH bytes. -EINVAL when it is not one of ALGORITHM. */
int digest_set_base64(enum digest_algorithm algorithm, const char *text, size_t length, struct digest *ret);

#endif
