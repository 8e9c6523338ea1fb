/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may. none: everyone who can connect, which is this machine. token: whoever shows a token of the configuration. keystone: tokens that
 * Keystone validates; managing needs an admin role, and Glance is asked, with the caller's token, which images it may have.
 *
 * Any thread. With keystone all but auth_new() may block on Keystone and Glance, as service.h says.
 */
#ifndef GCFS_API_AUTH_H
#define GCFS_API_AUTH_H

#include "api/access/service.h"
#include "api/http/api.h"

/* Reads the token files. UPSTREAM: where Glance is, or NULL; stays. -errno, logged. */
int auth_new(const struct config *config, struct endpoints *upstream, struct auth **ret);
/* Reads them again; on -errno, logged, the old ones stay. */
int auth_reload(struct auth *a);
void auth_free(struct auth *a); /* NULL is fine */

/* Fills r->who. False: *ret_status and MESSAGE are the answer. */
bool auth_allows(struct request *r, enum permission may, unsigned *ret_status, char *message, size_t size);

/* With keystone: fills r->who, where Keystone says that the token is good, or did and is away (stale_if_error). */
bool auth_identify(struct request *r);

/*
 * May the caller, let in before, have the bytes of the image ID? False: as above. With keystone Glance decides, by its policy for downloads;
 * an image that the caller may not even see is 404. 204 is one that has no bytes.
 */
bool auth_downloads(struct request *r, const char *id, unsigned *ret_status, char *message, size_t size);

/* With keystone: the image ID was changed; Glance is asked anew who may have it. */
void auth_forget_image(struct auth *a, const char *id);

/*
 * With keystone: asks Glance PATH ("/images?…", below /v2) with the caller's token. HURRIED: as in service.h. 0 and the answer, its body to be
 * freed; or -errno.
 */
int auth_relay(struct request *r, const char *path, bool hurried, struct service_answer *ret);

#endif
