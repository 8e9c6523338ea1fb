/* SPDX-License-Identifier: Apache-2.0 */
/* Is a document still the one that was read last? Pure. */
#ifndef GCFS_ENGINE_LOOKUP_VALIDATOR_H
#define GCFS_ENGINE_LOOKUP_VALIDATOR_H

#include "transfer/transfer.h"

/* Which version of a file of published digests is in the catalogue: headers as the server sent them; "": none. */
struct document_validator {
    unsigned endpoint;
    char etag[128], modified[64];
};

void validator_note(struct document_validator *v, unsigned endpoint, const struct transfer_head *head); /* of the answer of ENDPOINT */
/* Has REQUEST, to ENDPOINT, ask for it only when it is another one than V is of. -ENOMEM. */
int validator_ask(const struct document_validator *v, unsigned endpoint, struct transfer_request *request);

#endif
