/* SPDX-License-Identifier: Apache-2.0 */
/* The headers Range, If-Range, If-None-Match and ETag of RFC 9110. Pure; any thread. */
#ifndef GCFS_API_RANGE_H
#define GCFS_API_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum range_verdict {
    RANGE_NONE,          /* not for us (another unit, not well-formed): the whole representation, as RFC 9110 14.2 has it */
    RANGE_ONE,           /* one satisfiable range */
    RANGE_SEVERAL,       /* well-formed, more than one: answered as a whole */
    RANGE_UNSATISFIABLE, /* 416 */
};

/* What VALUE (of the header Range; NULL: none) asks of SIZE bytes. With RANGE_ONE, *ret_first <= *ret_last < SIZE. */
enum range_verdict range_parse(const char *value, uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

/*
 * The entity tag for a digest or for what a backend gave: "\"text\"", quoted once, weak ones kept weak. False, and RET empty, when TEXT
 * is empty or holds what no entity tag may.
 */
bool etag_make(const char *text, char *ret, size_t size);
/* If-None-Match: does the list VALUE (or "*") hold ETAG? Weak comparison. An empty ETAG matches only "*". */
bool etag_listed(const char *value, const char *etag);
/* If-Range: is VALUE exactly the strong ETAG? A date never is: nothing here has one that is strong. */
bool etag_same(const char *value, const char *etag);

#endif
