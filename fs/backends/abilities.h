/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers refuse that is asked for on top, such as a header of their kind that not all know: learned from their answers, an endpoint
 * at a time. What a request asks for so is noted in its `extras`. One that is refused (400, 501 and the like) is asked for without one of them,
 * then without another, then without all; what it was answered without is left out for an hour, and asked for again then.
 *
 *     takes it ──refused──> on trial, left out ──answered──> refused, for an hour
 *        ^                       `──refused as well: it is not that──> takes it
 *
 * Any thread; no lock. Two answers at once may at worst leave something out for an hour that was no reason.
 */
#ifndef GCFS_ABILITIES_H
#define GCFS_ABILITIES_H

#include <stdbool.h>
#include <stddef.h>

enum ability { ABILITY_CHECKSUM_MODE, ABILITY_CONDITION, ABILITY_URL_ENCODING, ABILITY_PAGE_LIMIT, ABILITY_LIST_V2, ABILITIES };

struct abilities;

int abilities_new(unsigned endpoints, struct abilities **ret); /* -ENOMEM */
void abilities_free(struct abilities *a); /* NULL is fine */

/* Is ABILITY to be asked of ENDPOINT now? *EXTRAS, which begins as 0, notes the question and the answer. */
bool abilities_ask(struct abilities *a, unsigned endpoint, enum ability ability, unsigned *extras);

/*
 * ENDPOINT answered STATUS (0: nothing) to a request with EXTRAS. True: made now, it asks for less, and is worth it. WHY (SIZE bytes) is
 * what was learned, for the log, said once; else "".
 */
bool abilities_answered(struct abilities *a, unsigned endpoint, unsigned extras, int status, char *why, size_t size);

/* May STATUS be a refusal of something that EXTRAS ask for? */
bool abilities_doubted(unsigned extras, int status);

/* The name of what ENDPOINT refuses, from number *N on, which moves behind it; NULL: no more. For .status. */
const char *abilities_refused(struct abilities *a, unsigned endpoint, unsigned *n);

#endif
