/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service manager is told, as sd_notify(3) describes it: nothing where no manager asks for it. The protocol is one datagram and
 * stable, so that no library is needed for it: without one, a unit with Type=notify would never be ready. Any thread; does not block.
 */
#ifndef GCFS_NOTIFY_H
#define GCFS_NOTIFY_H

/* Assignments as "READY=1\nSTATUS=…". */
void notify_tell(const char *state);

/* Of the keeper. */
void notify_ready(const char *status);
void notify_reloading(void); /* notify_ready() ends it */
void notify_stopping(const char *status);

#endif
