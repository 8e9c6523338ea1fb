/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parsers of listings, fed piece by piece in bounded memory (a page of 100,000 images costs no more than one of ten).
 * Pure; a parser belongs to one thread. Names that are not valid ids are passed over, as are folders.
 */
#ifndef GCFS_LISTING_H
#define GCFS_LISTING_H

#include <stdbool.h>
#include <stddef.h>

#include "image/meta.h"

struct listing; /* a parser of one page */

/* Called for each image of a listing; the pointers live for the call. Non-zero ends the listing with that. */
typedef int listing_fn(void *context, const struct listed_image *image);

/* nginx's `autoindex_format json`: an array of {"name", "type": "file", "size"}; each object parsed by jansson.
 * Caddy's, with "is_dir" in place of "type", is understood too. */
int listing_new_autoindex(listing_fn *fn, void *context, struct listing **ret);
/*
 * A plain index page (nginx, Apache, lighttpd, Caddy, python -m http.server): the href of each link that names one
 * thing in this folder, percent-decoded, character references resolved; sizes are not told (IMAGE_SIZE_UNKNOWN), but
 * where nginx's exact size stands in the same line behind the link and a date. The same name twice is told once where
 * the links follow each other.
 */
int listing_new_page(listing_fn *fn, void *context, struct listing **ret);
/*
 * Either of them: autoindex with JSON or when the first byte that is not blank is '[', else a page. Names of NOT_IMAGES
 * (NULL-terminated, must outlive the parser) are passed over.
 */
int listing_new_web(bool json, char *const *not_images, listing_fn *fn, void *context, struct listing **ret);

/* 0; what the listing_fn returned; -EPROTO when it is not such a listing; -ENOMEM. After anything but 0, free it. */
int listing_feed(struct listing *l, const void *data, size_t length);
/* The end of the body. 1: there is a further page, its marker at *ret_marker (valid until listing_free()); 0: that was
 * all; -EPROTO: it broke off; a negative error that the listing_fn returned. */
int listing_end(struct listing *l, const char **ret_marker);
void listing_free(struct listing *l); /* NULL is fine */

/* For a parser of a new format: what the calls above go to. A parser's struct starts with this. */
struct listing {
    int (*feed)(struct listing *l, const void *data, size_t length);
    int (*end)(struct listing *l, const char **ret_marker);
    void (*free)(struct listing *l);
    listing_fn *fn;
    void *context;
    char *const *folders; /* for pages, set by the maker: urls that end in a slash, NULL at the end; NULL: none. What is linked by its whole url or
                             path and lies in one of these is in this folder. */
};

/* The most of a page that is held: a link longer than this is -EPROTO. Bytes. */
enum { LISTING_PIECE_MAX = 65536 };

#endif
