/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Glance says of a caller: whether it may have an image's bytes, and, word for word, what it answers about images. It is Glance's policy
 * download_image that counts for bytes, which may be narrower than that for looking at an image; only a request for bytes tells. So one byte
 * is asked for. Answers are kept for auth_ttl, a "no" for some seconds. Any thread; blocks on Glance when nothing is known.
 */
#ifndef GCFS_API_PERMISSION_H
#define GCFS_API_PERMISSION_H

#include "config/config.h"
#include "api/access/service.h"
#include "api/access/verdicts.h"

struct permission_of;

/* UPSTREAM: where Glance is when there is no image_url; stays. NULL: no memory. */
struct permission_of *permission_new(const struct config_api *config, struct endpoints *upstream);
void permission_free(struct permission_of *p);

struct caller {
    const char *token, *service; /* as in validation.h */
    const char *key;             /* of both */
    const char *scope;           /* as in validation.h */
    const char *request_id;      /* NULL: none */
};

/*
 * The status that decides: 200 the bytes may be given, 204 there are none, 401, 403, 404 as Glance says. -errno when it cannot be asked, or
 * answers something else. With stale_if_error the last yes to the same scope counts then: *RET_STALE.
 */
int permission_ask(struct permission_of *p, const struct caller *caller, const char *id, unsigned *ret_status, bool *ret_stale);

/* The image ID was changed: what is known of it is forgotten, also what is just being asked. */
void permission_forget(struct permission_of *p, const char *id);

/* Glance's answer to GET REST ("/images?…", below /v2); a->body is to be freed. HURRIED: as in service.h. */
int permission_relay(struct permission_of *p, const struct caller *caller, const char *rest, bool hurried, struct service_answer *ret);

#endif
