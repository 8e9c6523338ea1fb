/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keystone v3: what is sent to get a token, and what the answer says (POST /v3/auth/tokens). Pure but for
 * keystone_login_open(), which reads files of secrets and the environment; any thread.
 */
#ifndef GCFS_KEYSTONE_H
#define GCFS_KEYSTONE_H

#include <stdint.h>

#include "config/config.h"
#include "transfer/transfer.h"

/* Who we are. Texts but the secret belong to the configuration or the environment. */
struct keystone_login {
    char *url;  /* https://keystone.example.org:5000/v3 */
    char *secret; /* password, or the application credential's */
    const char *application_credential; /* its id; NULL: a user's password */
    const char *user, *user_domain, *project, *project_domain;
    const char *user_domain_key, *project_key, *project_domain_key; /* "id" or "name": what the text above is */
};

/* From the options, else OS_AUTH_URL, OS_USERNAME and so on. -EINVAL with MESSAGE, -ENOMEM. */
int keystone_login_open(const struct config *config, struct keystone_login *ret, char message[CONFIG_MESSAGE_MAX]);
void keystone_login_clear(struct keystone_login *login); /* wipes it; zeroed is fine */

/* Fills REQUEST: a token, please, for the project. -ENOMEM. */
int keystone_ask(const struct keystone_login *login, struct transfer_request *request);

/*
 * The answer's body: how long the token is good for (seconds, 0: not told), and the url of the service of TYPE ("image") in
 * its catalogue, of INTERFACE ("public") and, when not NULL, REGION: *ret_url, free() it; TYPE NULL: do not look. -EPROTO and
 * -ENXIO (the catalogue has no such service) with *ret_why; -ENOMEM.
 */
int keystone_answer(const void *body, size_t length, const char *type, const char *interface, const char *region,
                    uint64_t *ret_lifetime, char **ret_url, const char **ret_why);

#endif
