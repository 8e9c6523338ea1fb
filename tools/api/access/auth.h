/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may. none: everyone who can connect, which is this machine. token: whoever shows a token of the configuration. keystone: tokens that
 * Keystone validates; managing needs an admin role, and Glance is asked, with the caller's token, which images the caller sees.
 *
 * Any thread. With keystone all but auth_new() may block on Keystone and Glance, at most 20 seconds a question.
 */
#ifndef GCFS_API_AUTH_H
#define GCFS_API_AUTH_H

#include "api/http/api.h"

/* Reads the token files. -errno, logged. */
int auth_new(const struct config *config, struct auth **ret);
void auth_free(struct auth *a); /* NULL is fine */

/* Fills r->who. False: *ret_status and MESSAGE are the answer. */
bool auth_allows(struct request *r, enum permission may, unsigned *ret_status, char *message, size_t size);

/* May the caller, let in before, see the image ID? False: as above; an image that the caller may not see is "not found". */
bool auth_sees(struct request *r, const char *id, unsigned *ret_status, char *message, size_t size);

/*
 * With keystone, for who does not see all: asks Glance PATH ("/v2/images?…") with the caller's token. 0 and the answer, to be freed; or
 * -errno when there is none.
 */
int auth_relay(struct request *r, const char *path, unsigned *ret_status, char **ret_body, size_t *ret_length);

#endif
