/* SPDX-License-Identifier: Apache-2.0 */
/* The head of a request, a line each: its URI, then names and values. What passes says once, and in one way, how long it is. */
#include "config-auto.h"

#include "fuzz.h"

#include <strings.h>

#include "api/http/framing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct framing f = {0};
    unsigned lengths = 0, encodings = 0;
    bool odd = false;
    char *uri = fuzz_line(&in);
    while (in.size > 0) {
        char *name = fuzz_line(&in), *value = fuzz_line(&in);
        framing_take(&f, name, value);
        lengths += strcasecmp(name, "content-length") == 0;
        encodings += strcasecmp(name, "transfer-encoding") == 0;
        odd |= strpbrk(name, " \t\r:") != NULL || strchr(value, '\r') != NULL || *name == '\0';
        free(name);
        free(value);
    }
    const char *wrong = framing_wrong(&f, uri, false);
    assert(wrong || (lengths + encodings <= 1 && !odd && !strpbrk(uri, " \t\r\x7f")));
    assert(framing_wrong(&f, uri, true) || encodings == 0);
    assert(!wrong || *wrong);
    free(uri);
    return 0;
}
