/* SPDX-License-Identifier: Apache-2.0 */
/* What first bytes tell of an image: its format is one of few words, or none; its size for machines one that a file may have. */
#include "config-auto.h"

#include "fuzz.h"

#include "image/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const formats[] = {"qcow2", "vmdk", "vhd", "vhdx", "vdi", "ploop", "iso", "raw"};
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    assert(bytes);
    memcpy(bytes, size > 0 ? data : (const uint8_t *)"", size);
    const char *format = image_format(bytes, size);
    bool known = format == NULL;
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        uint64_t told = image_virtual_size(formats[i], bytes, size, size); /* also of what it is not */
        assert(told <= INT64_MAX);
        known = known || strcmp(format, formats[i]) == 0;
    }
    assert(known);
    free(bytes);
    return 0;
}
