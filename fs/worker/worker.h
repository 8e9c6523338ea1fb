/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker: everything but the mount itself, in a process of its own that the keeper starts and that can be killed
 * and replaced at any time. How the two talk is in link.h.
 */
#ifndef GCFS_WORKER_H
#define GCFS_WORKER_H

#include "process/command_line.h"

/*
 * The process: from reading the configuration to its exit code (enum in link.h). LINE says which descriptors it was
 * given.
 */
int worker_run(const struct command_line *line);

#endif
