/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets, one server of the library each, and the life of connections and requests. */
#ifndef GCFS_API_LISTENER_H
#define GCFS_API_LISTENER_H

#include "api/http/api.h"

struct listener;

/*
 * Binds and serves ADDRESS, as address.h has it, for API. CERT and KEY (PEM texts; NULL: plain http) must stay as long as the listener.
 * -errno, logged.
 */
int listener_start(struct api *api, const char *address, bool loopback_only, const char *cert, const char *key, struct listener **ret);
/* Accepts no more, waits for the threads of all connections, frees. NULL is fine. */
void listener_stop(struct listener *l);

#endif
