/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a service is: urls of the configuration, or what Keystone's catalogue tells with the first token. Several are tried in turn, from the one that
 * could be reached last on. Any thread; the lock is a leaf.
 */
#ifndef GCFS_API_ENDPOINTS_H
#define GCFS_API_ENDPOINTS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum { ENDPOINTS_MAX = 16, ENDPOINT_SIZE = 512 };

struct endpoints;

/* URLS stay; with only "catalog" among them, endpoints_learn() tells. NULL: no memory. */
struct endpoints *endpoints_new(char *const *urls, size_t count);
void endpoints_free(struct endpoints *e); /* NULL is fine */

bool endpoints_known(struct endpoints *e);
/* CATALOGUE of a token: its image services in REGION (NULL: any) with INTERFACE. Without any, those of before stay; changes are logged. */
void endpoints_learn(struct endpoints *e, const json_t *catalogue, const char *region, const char *interface);

/* The TRY-th to be tried, from 0 on, without slashes and /v2 at its end. False: there is no more. */
bool endpoints_get(struct endpoints *e, unsigned try, char ret[ENDPOINT_SIZE]);
void endpoints_reached(struct endpoints *e, const char *url); /* it is the first to be tried from now on */

#endif
