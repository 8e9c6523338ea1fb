/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are for S3, and how a request says so: credentials, the region and the time that signatures are made with. All three are learned
 * anew while it runs: credentials from their files, when those changed or the service refuses what they held; the region of each endpoint and
 * its clock from what it answers. Any thread; one lock of its own, a leaf, never held while a file is read.
 */
#ifndef GCFS_S3_IDENTITY_H
#define GCFS_S3_IDENTITY_H

#include "config/config.h"
#include "transfer/transfer.h"

struct s3_identity;

/* CONFIG outlives it. Reads files. REGION: for endpoints that name no other. -EINVAL with MESSAGE; -ENOMEM. */
int s3_identity_open(const struct config *config, const char *region, unsigned endpoints, struct s3_identity **ret,
                     char message[CONFIG_MESSAGE_MAX]);
void s3_identity_close(struct s3_identity *s); /* NULL is fine */

/* Signs REQUEST, which has no body, for ENDPOINT; without credentials only what everybody may say is added. May read small files. -ENOMEM. */
int s3_identity_sign(struct s3_identity *s, unsigned endpoint, struct transfer_request *request);

enum { S3_REGION_MAX = 64 };
void s3_identity_region(struct s3_identity *s, unsigned endpoint, char ret[S3_REGION_MAX]); /* that it is signed for now */

/*
 * ENDPOINT refused a request with RESULT: was that for credentials, a region or a time which are known better now? WHY (SIZE bytes): what was
 * learned, for the log; untouched when nothing was.
 */
bool s3_identity_learn(struct s3_identity *s, unsigned endpoint, const struct transfer_result *result, char *why, size_t size);

#endif
