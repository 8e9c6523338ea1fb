/* SPDX-License-Identifier: Apache-2.0 */
/* The mount point. The keeper's one thread; errors are logged here, in one line each. */
#ifndef GCFS_MOUNTPOINT_H
#define GCFS_MOUNTPOINT_H

#include "base/mountinfo.h"

/*
 * The absolute path of GIVEN, which must be a directory where nothing of ours is mounted that works. Changes nothing. A
 * mount of DEVICE (see mount_new(); "": unknown) is not looked at: whether it lives is known by the lock on the cache
 * directory.
 */
int mountpoint_check(const char *given, const char *device, char **ret_path);
/*
 * Takes away a mount that a killed keeper left behind: of DEVICE, which nobody serves since the caller has the lock, or
 * of ours and dead ("Transport endpoint is not connected"). Of others it says so.
 */
int mountpoint_clean(const char *path, const char *device);
/* What is mounted last at GIVEN (type "": nothing), without asking it anything; mountinfo_clear() it, and free *ret_path, its absolute path. */
int mountpoint_find(const char *given, char **ret_path, struct mountinfo *ret);

#endif
