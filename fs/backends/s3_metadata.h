/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials for S3 that a service nearby gives out, and takes back after some hours: the metadata of an instance of EC2 (version 2: a token
 * must be had first), or what AWS_CONTAINER_CREDENTIALS_… of the environment names. It says what to ask next and reads the answers; who asks
 * is the engine's login, one at a time, on the fetch thread: no lock.
 */
#ifndef GCFS_S3_METADATA_H
#define GCFS_S3_METADATA_H

#include "backends/backend.h"
#include "backends/s3_credentials.h"

struct s3_metadata;

/* SOURCE: S3_FROM_INSTANCE or S3_FROM_CONTAINER. Reads the environment and small files. -EINVAL with MESSAGE; -ENOMEM. */
int s3_metadata_open(const struct config *config, enum s3_source source, struct s3_metadata **ret, char message[CONFIG_MESSAGE_MAX]);
void s3_metadata_close(struct s3_metadata *m); /* NULL is fine */

const char *s3_metadata_name(const struct s3_metadata *m); /* its url, for the log */
const char *s3_metadata_hint(const struct s3_metadata *m); /* what to look at when it does not answer */

/* A login begins anew; its next question. It goes straight there, past any proxy. -ENOMEM, -EINVAL. */
int s3_metadata_ask(struct s3_metadata *m, struct transfer_request *request);
/* As auth_head() and authorised() of a backend. AUTH_FURTHER: ask the next question. 0: *ret, and for how many seconds (0: not told). */
int s3_metadata_head(struct s3_metadata *m, const struct transfer_head *head, const char **ret_why);
int s3_metadata_answer(struct s3_metadata *m, const void *body, size_t length, struct s3_credentials *ret, uint64_t *ret_lifetime,
                       const char **ret_why);

/* May credentials, and the secret that goes with the question, be had from URL? https anywhere; http on this machine and at the link-local
 * addresses of ECS and EKS only. */
bool s3_metadata_url_allowed(const char *url);

#endif
