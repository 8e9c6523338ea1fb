/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections there are, and how long each may take to send a whole request. The server's library times out silence only; a client that
 * sends a byte now and then would stay for ever. A connection waits for a request from its start, and from the end of each answer, until
 * the request is whole; one that waits too long is shut down.
 *
 * Any thread; the lock inside is a leaf.
 */
#ifndef GCFS_API_CONNECTIONS_H
#define GCFS_API_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct connections;
struct connection;

struct connections *connections_new(uint64_t request_timeout); /* seconds; NULL: no memory */
void connections_free(struct connections *c);                  /* all connections have ended; NULL is fine */

/* FD is open until connection_end() has returned. NULL: no memory. */
struct connection *connection_begin(struct connections *c, int fd);
void connection_end(struct connections *c, struct connection *one);
void connection_waits(struct connections *c, struct connection *one, bool waits);
unsigned connections_count(struct connections *c);

/* Shuts down those that waited too long. Call it every second or so. */
void connections_expire(struct connections *c);

/* How many bytes the other side has confirmed on FD; 0 where the system does not say. */
uint64_t connection_acked(int fd);

#endif
