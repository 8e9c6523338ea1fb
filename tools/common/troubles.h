/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a cache, as its .status tells. Pure; any thread. */
#ifndef GCFS_TROUBLES_H
#define GCFS_TROUBLES_H

#include <jansson.h>

/*
 * STATUS is the document of .status. Why the cache does not work as it should: an array of strings, a few words each, the gravest first;
 * empty: all is well. Whatever STATUS lacks is no trouble. json_decref() it.
 */
json_t *troubles_of(const json_t *status);

#endif
