/* SPDX-License-Identifier: Apache-2.0 */
/* JSON strings must be UTF-8; file names and servers' messages need not be. */
#include "config-auto.h"

#include "base/json_text.h"

#include <stdlib.h>
#include <string.h>

enum { VALUES_MAX = 65536, CONTAINERS_MAX = 16384 };

/* The length of the longest start of TEXT (≤ 4 bytes) that jansson takes as one character; 0: none. */
static size_t character(const char *text)
{
    size_t length = strnlen(text, 4);
    for (size_t n = 1; n <= length; n++) {
        json_t *s = json_stringn(text, n);
        if (s != NULL) {
            json_decref(s);
            return n;
        }
    }
    return 0;
}

json_t *json_text(const char *text)
{
    json_t *s = json_string(text);
    if (s != NULL)
        return s;
    char *clean = malloc(strlen(text) * 3 + 1), *out = clean;
    if (clean == NULL)
        return NULL;
    while (*text != '\0') {
        size_t n = character(text);
        memcpy(out, n ? text : "\xef\xbf\xbd", n ? n : 3);
        out += n ? n : 3;
        text += n ? n : 1;
    }
    *out = '\0';
    s = json_string(clean);
    free(clean);
    return s;
}

bool json_text_is_modest(const char *text, size_t length)
{
    size_t values = 0, containers = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (in_string && c == '\\')
            i++;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            containers++;
        else if (!in_string && c == ',')
            values++;
    }
    return containers <= CONTAINERS_MAX && values + containers <= VALUES_MAX;
}
