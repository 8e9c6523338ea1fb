/* SPDX-License-Identifier: Apache-2.0 */
/* Which version this is, and of which commit it was built. Pure; any thread. */
#ifndef GCFS_VERSION_H
#define GCFS_VERSION_H

/* As git names it, with "-dirty" where files differed from it; "unknown" where the sources were in no repository. */
const char *version_commit(void);
/* Prints what --version of PROGRAM says, one line, to standard output. */
void version_print(const char *program);

#endif
