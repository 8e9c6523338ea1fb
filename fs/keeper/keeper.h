/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: mounts, holds /dev/fuse and the lock on the cache directory, and has a worker serve the mount, another
 * one when that dies or is to be replaced. It reads the configuration and nothing else from outside, and never the
 * network.
 */
#ifndef GCFS_KEEPER_H
#define GCFS_KEEPER_H

#include "process/command_line.h"

/*
 * Mounts and stays until it is unmounted; returns the exit code. READY_FD (-1: none) is for who waits in front of us:
 * one byte is written to it when the mount is served, and from then on we log to syslog. The reason of a failure is
 * logged.
 */
int keeper_run(const struct command_line *line, int ready_fd);

#endif
