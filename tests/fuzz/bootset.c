/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a boot set: taken or refused, and what is taken prints to a text that says the same, and merges with itself. */
#include "config-auto.h"

#include "fuzz.h"

#include <errno.h>

#include "image/bootset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct bootset set, again, merged;
    static char printed[BOOTSET_TEXT_MAX + 1];
    unsigned line = 0;
    char *text = malloc(size + 1);
    assert(text);
    memcpy(text, data, size);
    int r = bootset_parse(text, size, &set, &line);
    free(text);
    assert(r == 0 || (r == -EBADMSG && line > 0) || (r == -EFBIG && size > BOOTSET_TEXT_MAX));
    if (r < 0)
        return 0;
    size_t length = bootset_print(&set, printed);
    assert(length <= BOOTSET_TEXT_MAX && printed[length] == '\0');
    assert(bootset_parse(printed, length, &again, &line) == 0 && again.size == set.size);
    assert(again.count == set.count ? bootset_bytes(&again) == bootset_bytes(&set) : again.count < set.count);
    bootset_cut(&set, 1 << 30);
    assert(bootset_bytes(&set) <= 1 << 30);
    bootset_fit(&set, set.size);
    assert(bootset_merge(&set, &set, NULL, &merged) == 0 && bootset_bytes(&merged) >= bootset_bytes(&set));
    bootset_fit(&set, set.size / 3);
    for (size_t i = 0; i < set.count; i++)
        assert(set.span[i].first < set.span[i].end && set.span[i].first < set.size);
    return 0;
}
