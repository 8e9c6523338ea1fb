/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of Glance's answers are kept while they pass, for whom, and when one is given again: see access/documents.h. Belongs to the thread of its
 * request.
 */
#ifndef GCFS_API_REMEMBER_H
#define GCFS_API_REMEMBER_H

#include "api/access/documents.h"
#include "api/http/api.h"

struct memory {
    bool on;     /* the answer may be kept; else nothing below counts */
    bool before; /* there is one from before */
    char key[VERDICT_KEY];
    const char *image; /* as documents_put() has it */
    uint64_t asked;
    struct document answer; /* as it comes */
    size_t room;            /* bytes of its body; 0: none yet */
};

/* The path is split. May block on Keystone, which says who asks. */
void remember_begin(struct memory *m, struct request *r);
/* One from before that is YOUNG enough, or is taken since Glance is away. Its body is to be freed. */
bool remember_find(const struct memory *m, const struct request *r, enum document_age age, struct document *ret);
/* Glance answers; TYPE: its Content-Type. A no is remembered by forgetting the yes. */
void remember_head(struct memory *m, struct request *r, unsigned status, const char *type, bool encoded);
void remember_piece(struct memory *m, const char *bytes, size_t length);
void remember_whole(struct memory *m, struct request *r); /* the body has come to its end */
void remember_end(struct memory *m);

#endif
