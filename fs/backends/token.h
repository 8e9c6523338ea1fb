/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A token of a service such as Keystone, with the url of the service it is for: had, sent, renewed and refused. Any
 * thread; nothing blocks. The value never leaves this room but in a request, and is wiped when it goes.
 */
#ifndef GCFS_TOKEN_H
#define GCFS_TOKEN_H

#include <stdbool.h>
#include <stdint.h>

#include "backends/backend.h"

struct token;

int token_new(struct token **ret); /* -ENOMEM */
void token_free(struct token *t);  /* NULL is fine */

/* A new token: VALUE, good for LIFETIME seconds (0: not told) from now; URL: of the service, NULL: none was told. -ENOMEM. */
int token_set(struct token *t, const char *value, uint64_t lifetime, const char *url);

/* Renewed ahead of its end: when a fifth of its life is left, at most five minutes. */
enum auth_need token_need(struct token *t);

/* The number of the token at hand; 0: none was had yet. */
unsigned token_number(struct token *t);

/*
 * An answer was 401 to a request made with token NUMBER. True: another try is worth it, with a token that is there since or
 * after a renewal. False for a token that is fresh: the service does not want it, and would not want the next one either.
 */
bool token_refused(struct token *t, unsigned number);

/* Adds X-Auth-Token. -EAGAIN: none was had yet; -ENOMEM. */
int token_send(struct token *t, struct transfer_request *request);

/* A copy of the url that came with the token, free() it; NULL: none, or no memory. */
char *token_url(struct token *t);

#endif
