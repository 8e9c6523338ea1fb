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

/* WIDTH bytes at AT; 0 beyond the end. */
static uint64_t number(const unsigned char *bytes, size_t length, size_t at, size_t width, bool little_endian)
{
    uint64_t n = 0;
    if (at + width > length)
        return 0;
    for (size_t i = 0; i < width; i++)
        n = n << 8 | bytes[at + (little_endian ? width - 1 - i : i)];
    return n;
}

uint64_t image_virtual_size(const char *format, const void *bytes, size_t length, uint64_t size)
{
    static const struct {
        const char *format, *signature;
        size_t at, width;
        bool little_endian;
        uint64_t unit; /* bytes */
    } PLACES[] = {
        {"qcow2", "QFI\xfb", 24, 8, false, 1},
        {"vmdk", "KDMV", 12, 8, true, 512}, /* of a descriptor alone, the extents would tell */
        {"vhd", "conectix", 48, 8, false, 1},
        {"vdi", "", 0x170, 8, true, 1},
        {"ploop", "WithoutFreeSpace", 36, 4, true, 512},
        {"ploop", "WithouFreSpacExt", 36, 8, true, 512},
    };
    uint64_t told = 0, unit = 1;
    if (strcmp(format, "raw") == 0)
        told = size;
    for (size_t i = 0; i < sizeof(PLACES) / sizeof(PLACES[0]); i++) {
        size_t n = strlen(PLACES[i].signature);
        if (strcmp(PLACES[i].format, format) != 0 || length < n || memcmp(bytes, PLACES[i].signature, n) != 0)
            continue;
        told = number(bytes, length, PLACES[i].at, PLACES[i].width, PLACES[i].little_endian);
        unit = PLACES[i].unit;
    }
    return told > INT64_MAX / unit ? 0 : told * unit;
}
