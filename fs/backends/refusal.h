/* SPDX-License-Identifier: Apache-2.0 */
/* What a server says of why it refuses a request: the XML of S3's errors, which other object stores speak too. Pure; any thread. */
#ifndef GCFS_REFUSAL_H
#define GCFS_REFUSAL_H

#include <stdbool.h>
#include <stddef.h>

struct transfer_result;

/* What a request was refused with. */
struct refusal {
    int status;    /* 0: it was not answered */
    char code[64]; /* the name of the refusal; "" */
};
void refusal_note(const struct transfer_result *result, struct refusal *ret);

/* The text of the first element NAME of DOCUMENT (see transfer_result), which may be cut off: into RET, SIZE bytes; untouched when there is none or it
 * does not fit, or is not of letters, digits and punctuation. */
bool refusal_element(const char *document, const char *name, char *ret, size_t size);

/* "the backend answered 403 (InvalidObjectState: …what to do)": what STATUS and DOCUMENT say, into RET. */
void refusal_text(int status, const char *document, char *ret, size_t size);

#endif
