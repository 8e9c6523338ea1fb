/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses as bytes and as text. No state. */
#include "config-auto.h"

#include "api/http/peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const unsigned char MAPPED[12] = {[10] = 0xff, [11] = 0xff};

static bool is_mapped(const struct peer *p)
{
    return memcmp(p->bytes, MAPPED, sizeof(MAPPED)) == 0;
}

static void take_v4(const struct in_addr *a, struct peer *ret)
{
    memcpy(ret->bytes, MAPPED, sizeof(MAPPED));
    memcpy(ret->bytes + sizeof(MAPPED), a, 4);
}

bool peer_of(const struct sockaddr *address, struct peer *ret)
{
    if (address != NULL && address->sa_family == AF_INET)
        take_v4(&((const struct sockaddr_in *)(const void *)address)->sin_addr, ret);
    else if (address != NULL && address->sa_family == AF_INET6)
        memcpy(ret->bytes, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, 16);
    else
        return false;
    return true;
}

static bool parse_bare(const char *text, struct peer *ret)
{
    struct in_addr v4;
    if (inet_pton(AF_INET, text, &v4) == 1) {
        take_v4(&v4, ret);
        return true;
    }
    return inet_pton(AF_INET6, text, ret->bytes) == 1;
}

bool peer_parse(const char *text, struct peer *ret)
{
    char bare[64];
    size_t length = strlen(text);
    if (length >= sizeof(bare))
        return false;
    memcpy(bare, text, length + 1);
    char *bracket = bare[0] == '[' ? strchr(bare, ']') : NULL, *colon = strchr(bare, ':');
    if (bracket != NULL) {
        *bracket = '\0';
        return parse_bare(bare + 1, ret);
    }
    if (colon != NULL && strchr(colon + 1, ':') == NULL) /* a.b.c.d:port */
        *colon = '\0';
    return parse_bare(bare, ret);
}

void peer_text(const struct peer *p, char ret[PEER_TEXT])
{
    bool v4 = is_mapped(p);
    if (inet_ntop(v4 ? AF_INET : AF_INET6, p->bytes + (v4 ? 12 : 0), ret, PEER_TEXT) == NULL)
        strcpy(ret, "?");
}

/* The network of TEXT and how many of its bits count. */
static bool parse_network(const char *text, struct peer *ret, unsigned *ret_bits)
{
    char address[64];
    const char *slash = strchr(text, '/');
    size_t length = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (length >= sizeof(address))
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!parse_bare(address, ret))
        return false;
    unsigned most = strchr(address, ':') == NULL ? 32 : 128;
    unsigned long bits = most;
    if (slash != NULL) {
        char *end;
        bits = strtoul(slash + 1, &end, 10);
        if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || bits > most)
            return false;
    }
    *ret_bits = (unsigned)bits + 128 - most;
    return true;
}

bool peer_network_valid(const char *text)
{
    struct peer network;
    unsigned bits;
    return parse_network(text, &network, &bits);
}

bool peer_listed(const struct peer *p, char *const *networks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct peer network;
        unsigned bits;
        if (!parse_network(networks[i], &network, &bits))
            continue;
        unsigned whole = bits / 8, rest = bits % 8;
        unsigned char mask = (unsigned char)(0xff00 >> rest);
        if (memcmp(p->bytes, network.bytes, whole) == 0 && (rest == 0 || ((p->bytes[whole] ^ network.bytes[whole]) & mask) == 0))
            return true;
    }
    return false;
}

struct peer peer_client(const struct peer *p)
{
    struct peer one = *p;
    if (!is_mapped(p))
        memset(one.bytes + 8, 0, 8);
    return one;
}

bool peer_is_loopback(const struct peer *p)
{
    static const unsigned char one[16] = {[15] = 1};
    return is_mapped(p) ? p->bytes[12] == 127 : memcmp(p->bytes, one, sizeof(one)) == 0;
}
