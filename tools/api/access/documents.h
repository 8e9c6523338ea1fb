/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Glance answered to those who asked about images, kept for a while: to be given again while it is young (document_ttl), or, to who has seen
 * it, while Glance is away (stale_if_error). A key is of one scope and one path, so that nobody sees what another was shown. At most
 * DOCUMENTS_MAX and document_cache_size bytes are kept; what was used longest ago goes first. Any thread; the lock is a leaf.
 */
#ifndef GCFS_API_DOCUMENTS_H
#define GCFS_API_DOCUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/access/verdicts.h"
#include "api/http/api.h"
#include "config/config.h"

enum { DOCUMENTS_MAX = 20000, DOCUMENT_BYTES_MAX = 1024 * 1024 };

struct documents;

struct documents *documents_new(const struct config_api *config); /* NULL: no memory */
void documents_free(struct documents *d); /* NULL is fine */
bool documents_on(const struct documents *d); /* is anything to be kept at all? */

struct document {
    unsigned status;
    uint64_t age; /* seconds */
    char type[96];
    char *body; /* NUL behind it; to be freed */
    size_t length;
};

enum document_age { DOCUMENT_YOUNG, DOCUMENT_STALE };

/* False: there is none, or none so young. DOCUMENT_STALE takes what stale_if_error allows, too. */
bool documents_get(struct documents *d, const char key[VERDICT_KEY], enum document_age age, struct document *ret);
bool documents_has(struct documents *d, const char key[VERDICT_KEY]); /* also a stale one */

/* Before Glance is asked: a document that was asked for before a change and comes behind it is not kept. */
uint64_t documents_ask(struct documents *d);
/*
 * IMAGE: whose it is; "": of none, as a schema; NULL: it tells of several, and is given only while Glance is away, as is one whose "status" is not "active",
 * since clients wait for it to change. ASKED: of documents_ask(). BODY is copied; without memory it is not kept.
 */
void documents_put(struct documents *d, const char key[VERDICT_KEY], const char *image, uint64_t asked, const struct document *document);
void documents_drop(struct documents *d, const char key[VERDICT_KEY]); /* Glance has said otherwise */
/* IMAGE was changed: all of it, and all that tell of several, go; NULL: of whichever image, so that all go. */
void documents_forget(struct documents *d, const char *image);

bool document_wanted_anew(const struct request *r); /* the client says so: no young one will do */
/* Answers with it, and says how old it is; STALE: Glance does not answer. Takes its body. */
enum MHD_Result document_reply(struct request *r, struct document *document, bool stale);

#endif
