/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Documents of digests, as sha256sum(1) and its like write them: "<hex>  <name>", "<hex> *<name>", "SHA256 (<name>) =
 * <hex>"; fed piece by piece in bounded memory. Pure; a parser belongs to one thread.
 *
 * Other lines (comments, signatures, names that are not valid ids, lines too long to be one of these) are passed over.
 * A line that names its algorithm is believed; else it is the document's. A leading backslash (a name with \\, \n or \r
 * in it, see sha256sum's manual), a leading "./" and a carriage return at the end are understood.
 */
#ifndef GCFS_SUMS_H
#define GCFS_SUMS_H

#include <stdbool.h>
#include <stddef.h>

#include "image/digest.h"

struct sums;

/* Is NAME one of NAMES (NULL-terminated; NULL is none), such documents, or the signature of one (.gpg, .asc, .sign, .sig behind it)? Then it is no image. */
bool sums_named(char *const *names, const char *name);

/* Called for each line understood; the pointers live for the call. Non-zero ends the document with that. */
typedef int sums_fn(void *context, const char *name, const struct digest *digest);

int sums_new(enum digest_algorithm algorithm, sums_fn *fn, void *context, struct sums **ret); /* -ENOMEM */
int sums_feed(struct sums *s, const void *data, size_t length); /* 0; what FN returned */
int sums_end(struct sums *s);                                   /* the last line may lack its newline; as sums_feed() */
void sums_free(struct sums *s);                                 /* NULL is fine */

#endif
