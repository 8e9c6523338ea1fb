/* SPDX-License-Identifier: Apache-2.0 */
/* Any text becomes a JSON string; one that was UTF-8 stays as it is. */
#include "config-auto.h"

#include "fuzz.h"

#include "base/json_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    json_t *plain = json_string(text), *s = json_text(text);
    assert(json_is_string(s) && (!plain || json_equal(plain, s)));
    char *dumped = json_dumps(s, JSON_ENCODE_ANY);
    json_t *again = json_loads(dumped, JSON_DECODE_ANY, NULL);
    assert(json_equal(again, s));
    free(dumped);
    json_decref(again);
    json_decref(plain);
    json_decref(s);
    free(text);
    return 0;
}
