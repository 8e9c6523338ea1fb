/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a request ends. A proxy and this server must not see two different ends in the same bytes: the rest would be a request of its own,
 * with whatever rights the connection's next one has. What RFC 9112 lets a server guess is refused here. Pure; any thread.
 */
#ifndef GCFS_API_FRAMING_H
#define GCFS_API_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

struct framing {
    size_t bytes; /* of all headers */
    unsigned lengths, encodings, hosts;
    const char *wrong;
};

/* Takes one header, as it came. Begin with a framing of zeros. */
void framing_take(struct framing *f, const char *name, const char *value);

/* After the last header of a request to URI: NULL; or what is wrong, a sentence for the answer 400, after which the connection is closed. */
const char *framing_wrong(const struct framing *f, const char *uri, bool http_1_0);

#endif
