/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps web pages out: a browser on a machine that reaches this server must not manage the cache on behalf of a page from elsewhere.
 * Programs send none of these headers and are not concerned. Pure; any thread.
 *
 * - DNS rebinding: a page's own name made to point to us. The Host that is asked for must be an address, localhost, or a name that the
 *   operator lists; names cannot be.
 * - Cross-site requests: the browser says where a request comes from, in Sec-Fetch-Site and Origin. Changes also need a header that no
 *   page may send across sites without asking first (which is never granted).
 */
#ifndef GCFS_API_GUARD_H
#define GCFS_API_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* The name of the header that browsers must send with changes. */
#define GUARD_HEADER "X-Glance-Cache"

/* Is HOST (of the header; NULL: none) an address, localhost or one of NAMES, each with or without a port? */
bool guard_host(const char *host, char *const *names, size_t name_count);

struct guard_request {
    bool change;            /* not GET or HEAD */
    const char *host;       /* headers; NULL where there is none */
    const char *origin;
    const char *fetch_site; /* Sec-Fetch-Site */
    const char *fetch_mode; /* Sec-Fetch-Mode */
    const char *custom;     /* GUARD_HEADER */
    bool page;              /* the path is the page that people may follow a link to */
};

/* NULL: let it in. Otherwise why not, a sentence for the answer. */
const char *guard_site(const struct guard_request *r);

#endif
