/* SPDX-License-Identifier: Apache-2.0 */
/* Which answers are of the version that is fetched. On the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_VERSION_H
#define GCFS_ENGINE_FETCH_VERSION_H

#include "engine/fetch/request.h"

enum { VERSION_STRANGER = -EXDEV }; /* this endpoint's bytes do not count: another is to be asked */

/* An answer's head; ERROR: what backend_check_bytes() said of it. 0: its bytes count. -ESTALE: it is of another version; VERSION_STRANGER;
 * -ENOTSUP: the image comes as one stream from here on. range->why says what is wrong. */
int version_check(struct range *range, const struct transfer_head *head, int error);
/* The next LENGTH bytes that RANGE skips, as they are here already. 0 when they are the same; as version_check(). */
int version_compare(struct range *range, const unsigned char *bytes, size_t length);
/* The image is of the version of HEAD, wholly. -ESTALE: of another size. */
int version_adopt(struct range *range, const struct transfer_head *head);
void version_begin(struct image *image); /* before its first byte is asked for: does it come as one stream? */
bool version_may_go_on(const struct image *image); /* false: what was shown of it cannot be compared with what would come */
void version_place_locked(struct range *range); /* a new range: where it goes on, when it is the one stream */
void version_changed(struct engine *e, const char *name); /* an answer said so */

#endif
