/* SPDX-License-Identifier: Apache-2.0 */
/* The header Range: what it asks for lies within the image, and can be asked for again. */
#include "config-auto.h"

#include "fuzz.h"

#include <inttypes.h>

#include "api/http/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    char *number = fuzz_line(&in), *value = fuzz_line(&in), text[64];
    uint64_t image = strtoull(number, NULL, 10), first = UINT64_MAX, last = 1, a, b;
    enum range_verdict verdict = range_parse(value, image, &first, &last);
    if (verdict == RANGE_ONE) {
        assert(first <= last && last < image);
        snprintf(text, sizeof(text), "bytes=%" PRIu64 "-%" PRIu64, first, last);
        assert(range_parse(text, image, &a, &b) == RANGE_ONE && a == first && b == last);
        snprintf(text, sizeof(text), "bytes=-%" PRIu64, image - first);
        assert(range_parse(text, image, &a, &b) == RANGE_ONE && a == first && b == image - 1);
    } else {
        assert(first == UINT64_MAX && last == 1);
    }
    free(number);
    free(value);
    return 0;
}
