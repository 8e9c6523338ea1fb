/* SPDX-License-Identifier: Apache-2.0 */
/* The servers of other hosts, and which of them have an image. Any thread; blocks on them, all at once, as service.h says. */
#ifndef GCFS_API_NODES_H
#define GCFS_API_NODES_H

#include "api/http/api.h"

struct nodes;

struct nodes *nodes_new(const struct config_api *config); /* NULL: no memory */
void nodes_free(struct nodes *n);                         /* NULL is fine */

/* Appends to URLS those of the peers that have the image ID whole. Each is asked with the caller's token; who does not answer is left out. */
void nodes_ask(struct nodes *n, const struct request *r, const char *id, json_t *urls);

#endif
