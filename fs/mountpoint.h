/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount point and the mount, by libfuse (so that fusermount3 serves a plain user). The keeper's one thread; errors
 * are logged here, in one line each.
 */
#ifndef GCFS_MOUNTPOINT_H
#define GCFS_MOUNTPOINT_H

#include "command_line.h"

struct mount;

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

/* Checks the options of LINE; CONFIG_PATH is shown as the device. Nothing is mounted yet. */
int mount_new(const struct command_line *line, const char *config_path, struct mount **ret);
/* Mounts at PATH. *ret_fd is /dev/fuse, the caller's. */
int mount_up(struct mount *m, const char *path, int *ret_fd);
/*
 * Unmounts, also what is in use (those who have files open keep them while FD is open), unless it is unmounted already;
 * frees M. NULL is fine.
 */
void mount_down(struct mount *m);

#endif
