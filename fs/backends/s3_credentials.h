/* SPDX-License-Identifier: Apache-2.0 */
/* The key that S3 requests are signed with: of the configuration, the environment or a shared-credentials file; or where else it is had. */
#ifndef GCFS_S3_CREDENTIALS_H
#define GCFS_S3_CREDENTIALS_H

#include "config/config.h"

struct s3_credentials {
    char *user_password; /* "access key:secret key"; NULL: requests are not signed */
    char *session_token; /* NULL: none */
};

/* Where it comes from. The last two give it out when asked, see s3_metadata.h. */
enum s3_source { S3_FROM_NOWHERE, S3_FROM_OPTIONS, S3_FROM_FILE, S3_FROM_ENVIRONMENT, S3_FROM_CONTAINER, S3_FROM_INSTANCE };
enum s3_source s3_credentials_source(const struct config *config);
/* The file that it is read from, and may change in: of access_key's secret, or shared; NULL. As long as CONFIG and the environment. */
const char *s3_credentials_path(const struct config *config);

/* TOKEN NULL or "": none. -ENOMEM; -EINVAL: a key with a ':', which cannot be signed with. */
int s3_credentials_make(const char *key, const char *secret, const char *token, struct s3_credentials *ret);

/*
 * With option credentials = auto the first that is complete of: access_key with secret_key_file; AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY (and
 * AWS_SESSION_TOKEN); the profile in credentials_file, else in AWS_SHARED_CREDENTIALS_FILE. None of them given, or it is given out: no error.
 * Reads files. -EINVAL with MESSAGE when one was given and is of no use; -ENOMEM.
 */
int s3_credentials_read(const struct config *config, struct s3_credentials *ret, char message[CONFIG_MESSAGE_MAX]);
void s3_credentials_clear(struct s3_credentials *c); /* wipes it; zeroed is fine */

#endif
