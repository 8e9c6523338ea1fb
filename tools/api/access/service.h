/* SPDX-License-Identifier: Apache-2.0 */
/* Questions to Keystone and Glance. Any thread; blocks, at most SERVICE_SECONDS. Only here: libcurl. */
#ifndef GCFS_API_SERVICE_H
#define GCFS_API_SERVICE_H

#include <stddef.h>

enum { SERVICE_SECONDS = 20, SERVICE_BODY_MAX = 8 * 1024 * 1024 };

/* Once, while the process has one thread; and at its end. */
void service_set_up(void);
void service_clean_up(void);

/*
 * GET BASE + PATH with the token and, if not NULL, the subject token. 0 and the status, and the body (NUL behind it) to be freed;
 * -EHOSTUNREACH, -ETIMEDOUT, -EFBIG, -ENOMEM, -EIO when there is no whole answer, logged.
 */
int service_get(const char *base, const char *path, const char *ca_file, const char *token, const char *subject, unsigned *ret_status,
                char **ret_body, size_t *ret_length);

#endif
