/* SPDX-License-Identifier: Apache-2.0 */
/* A line of mountinfo: anybody may choose the source and the place of a mount. */
#include "config-auto.h"

#include "fuzz.h"

#include "base/mountinfo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mountinfo m;
    char *line = fuzz_text(data, size);
    if (mountinfo_parse(line, &m)) {
        assert(m.point && m.source && strlen(m.point) <= size && strlen(m.source) <= size && strlen(m.type) < sizeof(m.type));
        assert(m.owner >= -1 || strchr(line, '-'));
        mountinfo_clear(&m);
    }
    assert(!m.point && !m.source);
    free(line);
    return 0;
}
