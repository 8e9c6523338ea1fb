/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of clients and of the proxies before this server. IPv4 is kept as IPv6 has it (::ffff:a.b.c.d). Pure; any thread. */
#ifndef GCFS_API_PEER_H
#define GCFS_API_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

enum { PEER_TEXT = 48 };

struct peer {
    unsigned char bytes[16];
};

bool peer_of(const struct sockaddr *address, struct peer *ret); /* false: not of the internet */
/* "192.0.2.1", "2001:db8::1", also in brackets and with a port, as a header may have it. */
bool peer_parse(const char *text, struct peer *ret);
void peer_text(const struct peer *p, char ret[PEER_TEXT]);

/* Is TEXT an address, or a network as 10.0.0.0/8? */
bool peer_network_valid(const char *text);
bool peer_listed(const struct peer *p, char *const *networks, size_t count);

bool peer_is_loopback(const struct peer *p);

/* The part that one client has to itself: an IPv4 address, the first 64 bits of an IPv6 one. */
struct peer peer_client(const struct peer *p);

#endif
