/* SPDX-License-Identifier: Apache-2.0 */
/* Requests for bytes: request, retry, rate, version and whole work on them. All on the fetch thread. */
#ifndef GCFS_ENGINE_FETCH_REQUEST_H
#define GCFS_ENGINE_FETCH_REQUEST_H

#include <errno.h>
#include <stddef.h>

#include "engine/images/image.h"
#include "image/span.h"
#include "origin/login.h"
#include "store/writer.h"

/* What a request is for; a lower value is served first. */
enum fetch_class { FETCH_CLASS_DEMAND, FETCH_CLASS_REPLAY, FETCH_CLASS_AHEAD, FETCH_CLASS_WHOLE_IMAGE, FETCH_CLASS_PREFETCH, FETCH_CLASSES };

struct range;
/* The request of RANGE, which has no transfer any more, ended with ERROR (negative errno, or VERSION_STRANGER), answered as RESULT says. */
typedef void range_ended_fn(struct range *range, int error, const struct transfer_result *result);

/*
 * A request for bytes of an image. Under way while it has a transfer; without one it keeps its place and what it received, and is
 * asked again for the rest when the image's retry is due. Made, changed and freed on the fetch thread only.
 */
struct range {
    struct claim claim; /* image->claims; protected by image->lock */
    struct image *image;
    range_ended_fn *ended;
    enum fetch_class class;
    unsigned endpoint;
    struct transfer *transfer;
    bool capped; /* held to its share of background_rate, until somebody waits for it */
    struct auth_waiter auth;
    unsigned fails; /* in a row, at all endpoints each, without progress of its own */
    unsigned credential, auth_tries; /* that it was asked with; with how many since it got somewhere */
    unsigned streams_lost; /* since it got somewhere, by no fault that the endpoint is blamed for */
    unsigned extras, others; /* of the request; how often it was made otherwise since it got somewhere */
    struct image_file *file; /* where its bytes go */
    int64_t asked_at, first_at; /* monotonic */
    uint64_t asked_pos; /* pos when it was asked last */
    struct writer writer;  /* gathers what came after pos and is not in the file yet; without a buffer when there were enough of them */
    int broken;            /* negative errno: gathered bytes could not be written, the request must end */
    bool stream;        /* made as the one stream of an unproven image; others bring nothing any more */
    uint64_t skip;      /* bytes of the answer still to come that are here already (no Range support) */
    unsigned retry_after; /* seconds; the last answer's Retry-After */
    struct hedge *hedge; /* watches it; NULL */
    char why[96];       /* what is wrong with the answer, for the log; "" */
};

/* The range whose claim CLAIM is; NULL of NULL. */
static inline struct range *range_of(struct claim *claim)
{
    return claim == NULL ? NULL : (struct range *)((char *)claim - offsetof(struct range, claim));
}

static inline struct range *range_first(const struct image *image) /* NULL: it has none */
{
    return range_of(TAILQ_FIRST(&image->claims));
}

static inline struct range *range_next(const struct range *range)
{
    return range_of(TAILQ_NEXT(&range->claim, link));
}

/* Asks for SPAN of IMAGE. ENDED is called when its request failed, or no credential is to be had. Negative errno: it is gone again. */
int range_start(struct image *image, enum fetch_class class, struct span span, range_ended_fn *ended);
int range_again(struct range *range);
void range_free(struct range *range); /* cancels its transfer */
void range_hurry(struct image *image); /* somebody may wait for bytes of a range that is held to a rate */
void range_serve(struct image *image); /* somebody new may wait for bytes that arrived and are not in the file yet */

/* retry.c: asks again, at once or later, or ends the fetch: RANGE, all of its image and the image itself may be gone then, unless the caller has
 * a reference. */
enum { RANGE_NO_CREDENTIAL = -ENOKEY }; /* for ERROR: who gives them out cannot be reached */
range_ended_fn range_ended;
void range_retry_early(struct image *image); /* it waits for its next try, and the backend is well again */

/* Does somebody wait for bytes of RANGE? All of an image are waited for by who waits for its digest. Takes image->lock. */
bool range_is_awaited(const struct range *range);
void range_waited(struct image *image, int64_t waited); /* a first byte came after so many ns */
void range_uncap(struct range *range); /* it is capped; from here on it is as fast as it can be: what is left of the rate is the others' */

#endif
