/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A backend: where images come from. It only says how to ask (requests) and what an answer means; it never touches a
 * socket or a file of the cache. The engine carries its requests out and tries its endpoints in turn.
 *
 * A new backend is one file with a struct backend_ops, a line in table.c and its options in config's. Functions
 * marked optional may be NULL. All may be called from the fetch thread and the lister's thread at once: what a backend changes
 * after open() it protects by itself. None blocks, but list_here().
 *
 * Errors, also those that backend_status_error() gives: -ENOENT the backend says there is no such image; -EACCES it says
 * we may not; -EAGAIN try again (another endpoint, later); -ESTALE the image changed; -EPROTO the answer makes no sense;
 * -ENOTSUP it cannot do that.
 */
#ifndef GCFS_BACKEND_H
#define GCFS_BACKEND_H

#include "backends/abilities.h"
#include "backends/listing/listing.h"
#include "config/config.h"
#include "image/meta.h"
#include "transfer/transfer.h"

struct backend; /* each backend's own */

/* Is a new credential wanted? AUTH_SOON: it ends before long, but requests can be made with it. AUTH_NOW: they cannot. */
enum auth_need { AUTH_NONE, AUTH_SOON, AUTH_NOW };
enum { AUTH_FURTHER = 1 }; /* of authorised(): the credential takes another question, which auth() has now */

struct backend_ops {
    const char *type;        /* "http" */
    bool describe_has_bytes; /* the answer to describe() carries the image's first bytes */
    bool etag_may_be_md5;    /* a digest that is the etag is a guess: an image that does not match it may be right */
    bool ids_are_versions;   /* the bytes of an id never change: their answers need not say which version they are of */

    /* Reads its part of CONFIG (which outlives it). No network. On -EINVAL, MESSAGE says file, line and what to do. */
    int (*open)(const struct config *config, struct backend **ret, char message[CONFIG_MESSAGE_MAX]);
    void (*close)(struct backend *b);
    unsigned (*endpoints)(const struct backend *b);                            /* ≥ 1 */
    const char *(*endpoint_name)(const struct backend *b, unsigned endpoint);  /* for the log and .status: no secrets */

    /* Fills REQUEST: tell me what ID is; with describe_has_bytes, bytes 0 … PROBE-1 with it. */
    int (*describe)(struct backend *b, unsigned endpoint, const char *id, uint64_t probe, struct transfer_request *request);
    /* What the answer says. BODY: its first LENGTH bytes (whole, where it is a document). Fills meta wholly, .endpoint included.
     * IMAGE_SIZE_UNKNOWN in meta->size: ask with describe_again(). */
    int (*described)(struct backend *b, unsigned endpoint, const char *id, const struct transfer_head *head, const void *body,
                     size_t length, struct image_meta *ret);
    /* Optional: another way to ask, when the first did not tell the size (HEAD); its answer goes to described(). */
    int (*describe_again)(struct backend *b, unsigned endpoint, const char *id, struct transfer_request *request);

    /* Fills REQUEST for bytes FIRST … LAST of the version META, conditional on it where that can be said. */
    int (*bytes)(struct backend *b, unsigned endpoint, const char *id, const struct image_meta *meta, uint64_t first,
                 uint64_t last, struct transfer_request *request);

    /* Optional: fills REQUEST for the page of the listing behind MARKER (NULL: the first). -ENOTSUP. */
    int (*list)(struct backend *b, unsigned endpoint, const char *marker, struct transfer_request *request);
    /* A parser for that page's body, chosen by its head. Looks at the status, too: -ENOTSUP when this server does not list (an
     * HTTP server's 403, 404, 405), else as backend_status_error(). */
    int (*listing)(struct backend *b, const struct transfer_head *head, listing_fn *fn, void *context, struct listing **ret);
    /* Optional, instead of list(): lists on the calling thread; may block. */
    int (*list_here)(struct backend *b, listing_fn *fn, void *context);

    /* With digests(): fills REQUEST for the document NAME beside the images. */
    int (*document)(struct backend *b, unsigned endpoint, const char *name, struct transfer_request *request);
    /* Optional: fills REQUEST for the Nth document of published digests (SHA256SUMS) and its name; -ENOENT: no more. */
    int (*digests)(struct backend *b, unsigned endpoint, unsigned n, struct transfer_request *request, const char **ret_name,
                   enum digest_algorithm *ret_algorithm);

    /*
     * Optional: ENDPOINT answered RESULT to a request with EXTRAS. True: made now it would be another one, such as without what this server
     * does not know, and is worth it. WHY (BACKEND_WHY_MAX bytes): what was learned by it, for the log, once; "".
     */
    bool (*otherwise)(struct backend *b, unsigned endpoint, unsigned extras, const struct transfer_result *result, char *why);
    /* Optional: the next of what ENDPOINT refuses, as abilities_refused(). */
    const char *(*refuses)(struct backend *b, unsigned endpoint, unsigned *n);

    /*
     * Optional, all or none: credentials that must be had first (a token of Keystone). The engine carries out one renewal at a
     * time, however many wait for it.
     */
    enum auth_need (*auth_needed)(struct backend *b);
    const char *(*auth_name)(const struct backend *b); /* whom auth() asks: for the log and .status */
    const char *(*auth_hint)(const struct backend *b); /* optional: what to look at when it does not answer */
    /* Fills REQUEST: a new one, please. */
    int (*auth)(struct backend *b, struct transfer_request *request);
    /* What the answer's head says; then its whole body, after which the credential is there. On failure *ret_why, when it is set,
     * says for the log what is wrong and what to do. -EACCES: we are refused. AUTH_FURTHER: there is more to ask. */
    int (*auth_head)(struct backend *b, const struct transfer_head *head, const char **ret_why);
    int (*authorised)(struct backend *b, const void *body, size_t length, const char **ret_why);
    /* The number of the credential that requests carry now; 0: none. */
    unsigned (*credential)(struct backend *b);
    /* An endpoint answered STATUS (4xx), and CODE where the refusal has a name, to a request made with that CREDENTIAL: was that for the
     * credential, and is one more try worth it, after a renewal if one is needed by then? */
    bool (*refused)(struct backend *b, unsigned credential, int status, const char *code);
};

enum { BACKEND_WHY_MAX = 200 };

/* The backend of CONFIG's `type`. -EINVAL with MESSAGE. */
int backend_open(const struct config *config, const struct backend_ops **ret_ops, struct backend **ret, char message[CONFIG_MESSAGE_MAX]);

extern const struct backend_ops backend_file, backend_http, backend_glance, backend_swift, backend_s3;

/* An HTTP status that is not what was asked for, as an error: 404, 410 → -ENOENT; 401, 403 → -EACCES; 408, 425, 429, 5xx →
 * -EAGAIN; 412 → -ESTALE; anything else → -EPROTO. 2xx → 0. */
int backend_status_error(int status);
/* May STATUS, to a request for a part, be that of a server which can only send all of it? The request without a range tells. */
bool backend_may_refuse_range(int status);

/* Where the body of an answer to bytes() starts. Returns 0 and *ret_offset (FIRST for 206; 0 for a 200 of the whole image: no Range
 * support), or: -ESTALE another version (412, another total), -EPROTO (a range that was not asked for), or as
 * backend_status_error(). */
int backend_check_bytes(const struct transfer_head *head, const struct image_meta *meta, uint64_t first, uint64_t *ret_offset);

/*
 * Does the answer HEAD, which came from ENDPOINT, say that it is of the version META? By its own digest, when META has one of that kind;
 * from the endpoint that described META by its etag, or else its date; from another by a strong etag only. What contradicts one of these
 * is OTHER, whatever the rest says; where there is nothing to compare it is UNTOLD.
 */
enum version_verdict { VERSION_SAME, VERSION_OTHER, VERSION_UNTOLD };
enum version_verdict backend_version(const struct transfer_head *head, const struct image_meta *meta, unsigned endpoint);

/* ---- what the backends share */

/*
 * For answers of plain HTTP: size, etag and modified of the image that HEAD is the head of (the answer to a GET of bytes 0 …, or
 * to HEAD); ENDPOINT into meta; the rest empty. A size that was not told, or a 416 that does not say that the image is empty, gives
 * IMAGE_SIZE_UNKNOWN. -EPROTO; or as backend_status_error().
 */
int backend_meta_from_head(const struct transfer_head *head, unsigned endpoint, struct image_meta *ret);

/*
 * Has REQUEST, which goes to ENDPOINT, say that it is about the version META: If-Match where the etag allows it, so that a changed
 * image is an error and not a body; If-Range else, so that it comes whole, as 200. Both are for the endpoint that gave them, and not for one that
 * refuses them by ABILITIES. -ENOMEM.
 */
int backend_add_condition(struct transfer_request *request, struct abilities *abilities, unsigned endpoint, const struct image_meta *meta);

/* Has REQUEST, made for all of an image, ask for its first PROBE bytes; for FIRST … LAST of version META: -ENOMEM, and it is cleared. */
void backend_ask_first(struct transfer_request *request, uint64_t probe);
int backend_ask_part(struct transfer_request *request, struct abilities *abilities, unsigned endpoint, const struct image_meta *meta, uint64_t first,
                     uint64_t last);

/* PREFIX and ID as the path of an object, each segment escaped, the slashes of PREFIX kept. free() it; NULL: no memory. */
char *backend_object_path(const char *prefix, const char *id);

/* An etag that is the hex of an MD5, quoted or not, as a digest; DIGEST_NONE for any other ("…-2" of a multipart upload). */
struct digest backend_etag_md5(const char *etag);

/* The `checksum_files`: is each a plain name? -EINVAL with MESSAGE. For open(). */
int backend_check_sums_names(const struct config *config, char message[CONFIG_MESSAGE_MAX]);
enum digest_algorithm backend_sums_algorithm(const char *name); /* SHA256SUMS → DIGEST_SHA256; DIGEST_NONE: its lines tell */
bool backend_is_sums(const struct config *config, const char *id); /* one of checksum_files, or the signature of one: not an image */

#endif
