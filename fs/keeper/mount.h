/* SPDX-License-Identifier: Apache-2.0 */
/* The mount, by libfuse (so that fusermount3 serves a plain user). The keeper's one thread; errors are logged here, in one line each. */
#ifndef GCFS_FUSE_MOUNT_H
#define GCFS_FUSE_MOUNT_H

#include "process/command_line.h"

struct mount;

/* Checks the options of LINE; CONFIG_PATH is shown as the device. Nothing is mounted yet. */
int mount_new(const struct command_line *line, const char *config_path, struct mount **ret);
/* Mounts at PATH. *ret_fd is /dev/fuse, the caller's. */
int mount_up(struct mount *m, const char *path, int *ret_fd);
/* The mount's device, MAJOR:MINOR, once a worker has spoken with the kernel; nobody is asked. M may be NULL: -ENOTCONN. */
int mount_device(const struct mount *m, char ret[32]);
/*
 * Has the kernel read ahead more at once than the 128 KiB that are its default: each request costs a round through two processes.
 * Once a worker has spoken with the kernel. Needs root and a writable /sys; without them it stays as it is. M may be NULL.
 */
void mount_read_ahead(const struct mount *m);
/*
 * Unmounts, also what is in use (those who have files open keep them while FD is open), unless it is unmounted already;
 * frees M. NULL is fine.
 */
void mount_down(struct mount *m);

#endif
