/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures, verified by gpgv(1), which is run for each. Any thread; blocks until it ends. */
#ifndef GCFS_GPGV_H
#define GCFS_GPGV_H

#include <stddef.h>

enum { GPGV_WHY_MAX = 200 };

/*
 * Is TEXT signed by a key of KEYRING (an absolute path; what gpg --export writes)? By SIGNATURE, or, NULL, in clear. 0 and *ret_text, what was signed
 * and nothing else, free() it; its length. -EBADMSG: it is not, and WHY says what gpgv says; -ENOENT: gpgv cannot be run; -ENOMEM, -EMFILE and the like.
 */
int gpgv_verify(const char *keyring, const void *text, size_t length, const void *signature, size_t signature_length, char **ret_text,
                size_t *ret_length, char why[GPGV_WHY_MAX]);

#endif
