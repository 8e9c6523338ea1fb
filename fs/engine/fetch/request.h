/* SPDX-License-Identifier: Apache-2.0 */
/* What request, retry and rate share about a request for bytes. All on the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_REQUEST_H
#define GCFS_ENGINE_FETCH_REQUEST_H

#include "engine/private.h"

/* The request of RANGE, which has no transfer any more, ended with ERROR (negative errno, or VERSION_STRANGER), answered as RESULT says. Asks again, at once or
 * later, or ends the fetch: RANGE, all of its image and the image itself may be gone then, unless the caller has a reference. */
void range_failed(struct range *range, int error, const struct transfer_result *result);
/* Who gives out credentials cannot be reached: a failed try of IMAGE as any other, and the next is when it is asked again. */
void range_pause_for_credential(struct image *image);

/* Does somebody wait for bytes of RANGE? All of an image are waited for by who waits for its digest. Takes image->lock. */
bool range_is_awaited(const struct range *range);
void range_uncap(struct range *range); /* it is capped; from here on it is as fast as it can be: what is left of the rate is the others' */

#endif
