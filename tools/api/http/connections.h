/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections there are: how many, of whom, and how long each may take. No client has all of them: one address has a share. The
 * server's library times out silence only. A client that sends a byte now and then would stay for ever: a connection waits for a request
 * from its start, and from the end of each answer, until the request is whole; one that waits too long is shut down. So is one that takes its
 * answer more slowly than at the least rate; what counts is time with bytes ready for it, not that in which the backend sends none.
 *
 * Any thread; the lock inside is a leaf.
 */
#ifndef GCFS_API_CONNECTIONS_H
#define GCFS_API_CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "config/config.h"

struct connections;
struct connection;

struct connections *connections_new(const struct config_api *config); /* which stays; NULL: no memory */
void connections_free(struct connections *c);                         /* all connections have ended; NULL is fine */

/* May one more come from ADDRESS? Counted when not, and logged once a minute at most. */
bool connections_admit(struct connections *c, const struct sockaddr *address);

/* FD is open until connection_end() has returned. NULL: no memory. */
struct connection *connection_begin(struct connections *c, int fd, const struct sockaddr *address);
void connection_end(struct connections *c, struct connection *one);
void connection_waits(struct connections *c, struct connection *one, bool waits);

struct connections_count {
    unsigned now;
    uint64_t refused; /* since the start: there was no room, or not for that address */
    uint64_t slow;    /* were shut down since the start: no request came, or too little was taken */
};
struct connections_count connections_count(struct connections *c);

/* Shuts down those that waited too long, or take too little. Call it every second or so. */
void connections_expire(struct connections *c);

/* How many bytes the other side has confirmed on FD; 0 where the system does not say. */
uint64_t connection_acked(int fd);

#endif
