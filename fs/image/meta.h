/* SPDX-License-Identifier: Apache-2.0 */
/* What a backend tells of one version of an image. A plain value; pure; any thread. */
#ifndef GCFS_IMAGE_META_H
#define GCFS_IMAGE_META_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "image/digest.h"
#include "image/id.h"

#define IMAGE_SIZE_UNKNOWN UINT64_MAX

/* What tells a file of the cache from every other that had its name: random hexadecimal digits, in the row and in an attribute of the
 * file. "": none was given. */
enum { IMAGE_TAG_SIZE = 32 + 1 };

struct image_meta {
    uint64_t size;       /* bytes; IMAGE_SIZE_UNKNOWN */
    char etag[128];      /* as the server sent it, quotes and W/ included; "": none, or too long to keep */
    char modified[40];   /* Last-Modified, as sent; "": none */
    unsigned endpoint;   /* which of the backend's endpoints said etag and modified */
    struct digest digest; /* DIGEST_NONE: not known (yet) */
    char title[256];     /* a name for people (Glance); "": none. Truncated at a character. */
    char disk_format[32]; /* "qcow2", "raw", …; "": not known */
    uint64_t virtual_size; /* bytes that a machine sees of it; 0: not known */
    bool id_is_version;   /* who tells it promises that the bytes of an id never change; not kept in the catalogue */
};

enum image_state {
    IMAGE_KNOWN,    /* the backend has it; no bytes here */
    IMAGE_PARTIAL,  /* some bytes in incomplete/<name>, as the chunk map says */
    IMAGE_COMPLETE, /* whole and verified in <name> */
    IMAGE_RETIRED,  /* evicted or replaced while open: the file is .retired/<row>, the name is free for a new row */
};
const char *image_state_name(enum image_state state);

enum { IMAGE_ERROR_MAX = 255 };

/* One image of a listing. */
struct listed_image {
    const char *name;
    uint64_t size; /* IMAGE_SIZE_UNKNOWN where the listing does not tell exactly */
    const struct image_meta *meta; /* NULL, or all that the backend would say of it: a known row counts as described then */
};

/*
 * Do A and B describe the same bytes? Sizes must be equal; then the first of digest, etag, modified that both have (for
 * etag and modified: from the same endpoint) decides; with nothing to compare, yes.
 */
bool image_meta_same_version(const struct image_meta *a, const struct image_meta *b);

/*
 * Is it known, too, that bytes of which KNOWN was said are those of TOLD? An id that is a version says so; else a validator of one kind that both
 * have (etag, else date, from one endpoint; strong etags also from two). A digest does not: it may have been published for other bytes than were
 * read. Where one endpoint never tells either, nothing can be known, and it counts.
 */
bool image_meta_is_evident(const struct image_meta *known, const struct image_meta *told);

/* The date of META's version, in nanoseconds since 1970, from its Last-Modified. 0: none is told, or none that a clock could show. */
int64_t image_meta_date(const struct image_meta *meta);
/* Do their etags name one version? Both have one. A weak one counts as the strong one it was made of. */
bool image_meta_same_etag(const struct image_meta *a, const struct image_meta *b);
/* Is META's digest the MD5 that its etag looks like? Some services promise that, of others it is a guess. */
bool image_meta_digest_is_etag(const struct image_meta *meta);
/* Has META neither etag nor date: nothing that tells one version from the next? */
bool image_meta_is_bare(const struct image_meta *meta);

/* A strong validator for If-Match: meta's etag when it has one that is not weak; NULL. */
const char *image_meta_strong_etag(const struct image_meta *meta);

/*
 * What a complete file says of itself, in an attribute, for the day the catalogue is lost: "1 SIZE ALGORITHM HEX ETAG", "-" in place
 * of a digest that is not known. The label of META, cut to SIZE (IMAGE_LABEL_MAX holds all).
 */
enum { IMAGE_LABEL_MAX = 512 };
void image_label_write(const struct image_meta *meta, char *ret, size_t size);
/* Size, digest and etag from a label; the rest is empty. -EBADMSG: it is none. */
int image_label_read(const char *label, struct image_meta *ret);

#endif
