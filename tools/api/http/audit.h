/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who did what: a line of JSON for each download and each change, also for one that was refused, when it has ended. It goes to the log, or to a
 * file of its own. Any thread; blocks on the file. A line is one write(2), so that lines of several writers do not mix.
 */
#ifndef GCFS_API_AUDIT_H
#define GCFS_API_AUDIT_H

#include "api/http/api.h"

struct audit;

/* PATH: of the file, opened for appending, made when it is not there; NULL: lines go to the log. -errno, logged. */
int audit_new(const char *path, struct audit **ret);
void audit_free(struct audit *a); /* NULL is fine */
/* The file anew: it was moved away. On -errno, logged, the old one stays. */
int audit_reopen(struct audit *a);

/* R has an action and has ended. SENT: bytes of an image; WHOLE: all that was promised. */
void audit_write(struct audit *a, const struct request *r, uint64_t sent, bool whole);

#endif
