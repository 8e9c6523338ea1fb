/* SPDX-License-Identifier: Apache-2.0 */
/* Text of unknown origin as a JSON string. Pure; any thread. */
#ifndef GCFS_JSON_TEXT_H
#define GCFS_JSON_TEXT_H

#include <jansson.h>

/* TEXT, with U+FFFD in place of each byte that is not UTF-8. NULL: no memory. */
json_t *json_text(const char *text);

#endif
