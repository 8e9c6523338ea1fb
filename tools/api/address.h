/* SPDX-License-Identifier: Apache-2.0 */
/* What option listen names, as a socket. */
#ifndef GCFS_API_ADDRESS_H
#define GCFS_API_ADDRESS_H

#include <stdbool.h>

/*
 * A socket that listens on ADDRESS: "127.0.0.1:9292", "[::1]:9292", "name:port". LOOPBACK_ONLY: refuses every other address, -EPERM. The caller
 * closes *ret_fd. -errno, logged with what to do about it. May ask the resolver.
 */
int address_listen(const char *address, bool loopback_only, int *ret_fd);

#endif
