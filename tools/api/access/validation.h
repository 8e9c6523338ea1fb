/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Keystone says of a token: whether it is good, whose it is, and whether it has an admin role. Answers are kept for token_ttl, a "no"
 * for some seconds. Any thread; blocks on Keystone when nothing is known. Any number may ask about the same token: Keystone is asked once.
 */
#ifndef GCFS_API_VALIDATION_H
#define GCFS_API_VALIDATION_H

#include "config/config.h"
#include "api/access/endpoints.h"
#include "api/access/verdicts.h"

struct validation;

/* GLANCE: hears of Keystone's catalogue; stays; NULL: nobody does. NULL: no memory. */
struct validation *validation_new(const struct config_api *config, struct endpoints *glance);
void validation_free(struct validation *v);

struct validated {
    bool good, admin;
    char scope[VERDICT_KEY]; /* the same for tokens that may do the same: of one user, in one project, with the same roles */
    char user[96], user_id[72], project[96], project_id[72]; /* "" where the token does not say */
};

/*
 * TOKEN may ask about itself, so that this server needs no account of its own. With SERVICE (NULL: none), the token of a service that acts
 * for the user, TOKEN may have expired meanwhile: the service's must be good and have one of service_token_roles, and asks for it.
 * KEY: validation_key() of both. 0 and what was found, or -errno when Keystone cannot be asked; with stale_if_error, a token that was good
 * before is good until it ends while Keystone is away.
 */
int validation_ask(struct validation *v, const char *token, const char *service, const char *key, struct validated *ret);
bool validation_key(const char *token, const char *service, char ret[VERDICT_KEY]); /* false: no memory */
/* Another service found that the token is good no more. */
void validation_forget(struct validation *v, const char *key);

#endif
