/* SPDX-License-Identifier: Apache-2.0 */
/* The key that S3 requests are signed with: of the configuration, the environment or a shared-credentials file. */
#ifndef GCFS_S3_CREDENTIALS_H
#define GCFS_S3_CREDENTIALS_H

#include "config/config.h"

struct s3_credentials {
    char *user_password; /* "access key:secret key"; NULL: requests are not signed */
    char *session_token; /* NULL: none */
};

/*
 * The first that is complete of: access_key with secret_key_file; AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (and
 * AWS_SESSION_TOKEN); the profile in credentials_file, else in AWS_SHARED_CREDENTIALS_FILE. None of them given: no error.
 * Reads files. -EINVAL with MESSAGE when one was given and is of no use; -ENOMEM.
 */
int s3_credentials_read(const struct config *config, struct s3_credentials *ret, char message[CONFIG_MESSAGE_MAX]);
void s3_credentials_clear(struct s3_credentials *c); /* wipes it; zeroed is fine */

#endif
