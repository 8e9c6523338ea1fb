/* SPDX-License-Identifier: Apache-2.0 */
/* What --check does. */
#ifndef GCFS_WORKER_CHECK_H
#define GCFS_WORKER_CHECK_H

#include <stdbool.h>

/*
 * Reads the configuration at PATH and what it names, as a worker does when it starts, and closes it all again. Says all that is wrong, a line
 * each on standard error, or on standard output what it comes to. ONLINE: then asks the backend, too: logs in, lists it, and asks for an image.
 * Blocks.
 */
int worker_check(const char *path, bool online);

#endif
