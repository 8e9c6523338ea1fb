/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets, one server of the library each, and the life of connections and requests. */
#ifndef GCFS_API_LISTENER_H
#define GCFS_API_LISTENER_H

#include "api/http/api.h"

struct listener;

/*
 * Binds and serves ADDRESS, as address.h has it, for API. CERT and KEY are PEM texts, NULL for plain http.
 * -errno, logged.
 */
int listener_start(struct api *api, const char *address, bool loopback_only, const char *cert, const char *key, struct listener **ret);
/*
 * New connections get this certificate; those there are keep theirs until they end. The texts as above. On -errno, logged, all stays as it was.
 */
int listener_renew(struct listener *l, const char *cert, const char *key);
/* Frees what served connections of before and has none any more. Call it every second or so. */
void listener_tidy(struct listener *l);
/* Accepts no more, waits for the threads of all connections, frees. NULL is fine. */
void listener_stop(struct listener *l);

#endif
