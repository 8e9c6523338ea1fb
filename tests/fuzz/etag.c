/* SPDX-License-Identifier: Apache-2.0 */
/* Entity tags: one that is made is well-formed, is found in every list it was put into, and is itself only. */
#include "config-auto.h"

#include "fuzz.h"

#include "api/http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *text = fuzz_line(&in), *list = fuzz_line(&in), made[80], again[80], longer[256];
    bool good = etag_make(text, made, sizeof(made));
    assert(good ? made[strlen(made) - 1] == '"' : made[0] == '\0');
    if (good) {
        bool weak = made[0] == 'W';
        assert(etag_make(made, again, sizeof(again)) && strcmp(made, again) == 0);
        assert(etag_listed(made, made) && etag_same(made, made) == !weak);
        snprintf(longer, sizeof(longer), "\"no\", %s ,\"nor this\"", made);
        assert(etag_listed(longer, made) && !etag_same(longer, made));
    }
    bool listed = etag_listed(list, made);
    assert(!listed || good || strchr(list, '*'));
    if (etag_same(list, made))
        assert(listed);
    free(text);
    free(list);
    return 0;
}
