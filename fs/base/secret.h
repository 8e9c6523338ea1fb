/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Secrets from files: a password or a token, one line, never in the configuration itself, never in the log. Any thread.
 */
#ifndef GCFS_SECRET_H
#define GCFS_SECRET_H

/*
 * Reads the one line of the file at PATH, without its line break. May block on the disk. Warns in the log when everyone
 * may read the file. *ret is freed with secret_free(). Errors of open(2) and read(2); -EINVAL when it is not a regular
 * file of one line of text; -ENODATA when it is empty.
 */
int secret_read(const char *path, char **ret);
/* What to tell the operator about a negative errno of secret_read(). */
const char *secret_error(int error);
void secret_free(char *secret); /* wipes it. NULL is fine. */

#endif
