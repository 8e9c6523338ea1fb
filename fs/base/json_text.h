/* SPDX-License-Identifier: Apache-2.0 */
/* Text of unknown origin, into JSON and as JSON. Pure; any thread. */
#ifndef GCFS_JSON_TEXT_H
#define GCFS_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

/* TEXT, with U+FFFD in place of each byte that is not UTF-8. NULL: no memory. */
json_t *json_text(const char *text);

/*
 * May the JSON text TEXT be parsed? In memory "{}," takes eighty times what it takes here; with 65536 values, 16384 of them arrays or objects,
 * the worst is some MiB.
 */
bool json_text_is_modest(const char *text, size_t length);

#endif
