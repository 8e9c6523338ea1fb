/* SPDX-License-Identifier: Apache-2.0 */
/* The signatures. The layout of each stands in its format's specification. */
#include "config-auto.h"

#include "image/format.h"

#include <stdbool.h>
#include <string.h>

static const struct {
    size_t at;
    const char *bytes;
    size_t length;
    const char *format;
} SIGNATURES[] = {
    {0, "QFI\xfb\0\0\0\2", 8, "qcow2"}, /* with its version: 1 is another format */
    {0, "QFI\xfb\0\0\0\3", 8, "qcow2"},
    {0, "KDMV", 4, "vmdk"},
    {0, "# Disk DescriptorFile", 21, "vmdk"},
    {0, "conectix", 8, "vhd"}, /* of a dynamic one; a fixed one has it at its end */
    {0, "vhdxfile", 8, "vhdx"},
    {0x40, "\x7f\x10\xda\xbe", 4, "vdi"},
    {0, "WithoutFreeSpace", 16, "ploop"},
    {0, "WithouFreSpacExt", 16, "ploop"},
    {0x8001, "CD001", 5, "iso"}, /* before the partition table that an iso may have, too */
    {512, "EFI PART", 8, "raw"},
};

/* A boot sector whose four entries have no other flag than active or not. */
static bool has_partitions(const unsigned char *bytes, size_t length)
{
    if (length < 512 || bytes[510] != 0x55 || bytes[511] != 0xaa)
        return false;
    for (int i = 0; i < 4; i++) {
        if ((bytes[446 + 16 * i] & 0x7f) != 0)
            return false;
    }
    return true;
}

const char *image_format(const void *bytes, size_t length)
{
    const unsigned char *b = bytes;
    for (size_t i = 0; i < sizeof(SIGNATURES) / sizeof(SIGNATURES[0]); i++) {
        if (SIGNATURES[i].at + SIGNATURES[i].length <= length &&
            memcmp(b + SIGNATURES[i].at, SIGNATURES[i].bytes, SIGNATURES[i].length) == 0)
            return SIGNATURES[i].format;
    }
    return has_partitions(b, length) ? "raw" : NULL;
}
