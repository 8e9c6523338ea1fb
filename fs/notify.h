/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told (sd_notify(3)); nothing when there is none, or without libsystemd. By the keeper
 * only.
 */
#ifndef GCFS_NOTIFY_H
#define GCFS_NOTIFY_H

void notify_ready(const char *status);
void notify_reloading(void); /* notify_ready() ends it */
void notify_stopping(const char *status);

#endif
