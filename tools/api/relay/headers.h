/* SPDX-License-Identifier: Apache-2.0 */
/* Which headers pass, to Glance and back. Pure; any thread. */
#ifndef GCFS_API_HEADERS_H
#define GCFS_API_HEADERS_H

#include <stdbool.h>

/*
 * May a client's header go to Glance? Those that are listed may: what Glance's identity middleware writes for Glance itself (X-Roles, X-User-Id,
 * X-Identity-Status and the like) must never come from a client, in no spelling. CONNECTION: the value of the header Connection, whose
 * headers are for this server; NULL: there is none.
 */
bool header_goes(const char *name, const char *connection);

/* May a header of Glance's answer go to the client? All but those that are of the connection, and those that this server's library writes. */
bool header_returns(const char *name, const char *connection);

#endif
