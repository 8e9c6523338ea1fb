/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who we are for S3, and how a request says so: credentials, the region and the time that signatures are made with. All three are learned
 * anew while it runs: credentials from their files, when those changed or the service refuses what they held; the region of each endpoint and
 * its clock from what it answers. Credentials that a service nearby gives out (s3_metadata.h) are had before they end. Any thread; one lock of its own, a leaf, never held while a file is read.
 */
#ifndef GCFS_S3_IDENTITY_H
#define GCFS_S3_IDENTITY_H

#include "backends/backend.h"
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

/* As the functions of a backend for credentials that must be had first; none are needed when nobody gives them out. */
enum auth_need s3_identity_need(struct s3_identity *s);
const char *s3_identity_asks(const struct s3_identity *s);
const char *s3_identity_hint(const struct s3_identity *s);
int s3_identity_ask(struct s3_identity *s, struct transfer_request *request);
int s3_identity_head(struct s3_identity *s, const struct transfer_head *head, const char **ret_why);
int s3_identity_answer(struct s3_identity *s, const void *body, size_t length, const char **ret_why);
unsigned s3_identity_number(struct s3_identity *s);
bool s3_identity_refused(struct s3_identity *s, unsigned number, int status, const char *code);

#endif
