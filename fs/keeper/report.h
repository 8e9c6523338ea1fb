/* SPDX-License-Identifier: Apache-2.0 */
/* What --report does. */
#ifndef GCFS_KEEPER_REPORT_H
#define GCFS_KEEPER_REPORT_H

/*
 * Writes a tar archive to standard output that tells whoever helps what there is to know of the mount at PATH: configuration, .status, what is
 * queued and what failed, log, system. Without secrets: those that the configuration and the environment name, and what stands before an @ in a
 * url, are replaced. A mount that hangs is left out, with a note. Says what is wrong; -errno. Blocks, a minute at most.
 */
int report_write(const char *path);

#endif
