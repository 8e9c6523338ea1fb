/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the query of GET /v2/images asks for, as Glance understands it: filters by any attribute, and an order. A filter that no image can
 * pass leaves none: a list that ignores one is worse than no list, since clients delete what it has too many of. Pure.
 */
#ifndef GCFS_API_QUERY_H
#define GCFS_API_QUERY_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { QUERY_TERMS_MAX = 64, QUERY_KEYS_MAX = 8, QUERY_ERROR = 200 };

struct query_term {
    char *key, *value;
};

struct query_key {
    const char *key; /* of an image's document */
    bool descending;
};

struct query {
    char *text; /* what the terms point into */
    struct query_term terms[QUERY_TERMS_MAX]; /* the filters */
    size_t term_count;
    struct query_key keys[QUERY_KEYS_MAX];
    size_t key_count; /* 0: no order is asked for */
    char *marker;     /* NULL: none */
    size_t limit;
};

/* TEXT: behind the '?', still encoded. False: ERROR says what is wrong, for the answer 400. Free it with query_clear() in any case. */
bool query_parse(const char *text, struct query *ret, char error[QUERY_ERROR]);
void query_clear(struct query *q);

/* Does the document of an image pass all filters? */
bool query_matches(const struct query *q, const json_t *image);
/* As qsort(3) has it, by the keys and then by id. */
int query_compare(const struct query *q, const json_t *a, const json_t *b);

#endif
