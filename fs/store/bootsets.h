/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts of boot sets, a file each in .bootsets/ of the cache directory, which is made with the first. They outlive the images they are of: an
 * evicted one is fetched again. Replaced by rename: a power cut leaves the old one or the new one. As store.h otherwise.
 */
#ifndef GCFS_STORE_BOOTSETS_H
#define GCFS_STORE_BOOTSETS_H

#include <stddef.h>

#include "store/store.h"

enum { STORE_BOOTSETS_MAX = 1024 }; /* with one more, the one that was written longest ago goes */

/* At most SIZE bytes of it into TEXT. -ENOENT; -EFBIG: it is longer; -EINVAL: no regular file. */
int store_read_bootset(struct store *s, const char *name, char *text, size_t size, size_t *ret_length);
int store_write_bootset(struct store *s, const char *name, const char *text, size_t length);
int store_remove_bootset(struct store *s, const char *name); /* -ENOENT */
/* When it was written, its length. -ENOENT. */
int store_stat_bootset(struct store *s, const char *name, struct store_file *ret);
/* As store_scan(); also removes what a killed process left half written. */
int store_scan_bootsets(struct store *s, store_scan_fn *fn, void *context);

#endif
