/* SPDX-License-Identifier: Apache-2.0 */
/* What first bytes tell of an image. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image/format.h"

enum { SIZE = 64 * 1024 };

static void expect(const char *format, size_t at, const char *text, size_t length)
{
    char *bytes = calloc(1, SIZE);
    memcpy(bytes + at, text, length);
    const char *found = image_format(bytes, SIZE);
    if (format == NULL)
        assert_null(found);
    else
        assert_string_equal(found, format);
    for (size_t n = 0; n < at + length; n += n < 64 ? 1 : 97) /* a part of it is not enough, and nothing is read behind it */
        assert_null(image_format(bytes, n));
    free(bytes);
}

static void signatures(void **state)
{
    (void)state;
    expect("qcow2", 0, "QFI\xfb\0\0\0\3", 8);
    expect("vmdk", 0, "KDMV", 4);
    expect("vmdk", 0, "# Disk DescriptorFile", 21);
    expect("vhd", 0, "conectix", 8);
    expect("vhdx", 0, "vhdxfile", 8);
    expect("vdi", 0x40, "\x7f\x10\xda\xbe", 4);
    expect("iso", 0x8001, "CD001", 5);
    expect("raw", 512, "EFI PART", 8);
    expect("raw", 510, "\x55\xaa", 2);
}

static void what_is_not_known(void **state)
{
    (void)state;
    expect(NULL, 0, "QFI\xfb\0\0\0\1", 8); /* qcow of old */
    expect(NULL, 0, "\x1f\x8b\x08", 3);
    expect(NULL, 446, "\x7f", 1);
    assert_null(image_format("", 0));
}

static void an_iso_with_a_partition_table(void **state)
{
    unsigned char *bytes = calloc(1, SIZE);
    (void)state;
    memcpy(bytes + 510, "\x55\xaa", 2);
    memcpy(bytes + 0x8001, "CD001", 5);
    assert_string_equal(image_format(bytes, SIZE), "iso");
    bytes[0x8001] = 0;
    bytes[446] = 0x12; /* no flag that a partition has: a boot sector of something else */
    assert_null(image_format(bytes, SIZE));
    free(bytes);
}

static void put(unsigned char *to, uint64_t n, size_t width, bool little_endian)
{
    for (size_t i = 0; i < width; i++)
        to[little_endian ? i : width - 1 - i] = (unsigned char)(n >> 8 * i);
}

static void virtual_sizes(void **state)
{
    static const struct {
        const char *format, *signature;
        size_t signature_at, at, width;
        bool little_endian;
        uint64_t unit;
    } kinds[] = {
        {"qcow2", "QFI\xfb", 0, 24, 8, false, 1},          {"vmdk", "KDMV", 0, 12, 8, true, 512},
        {"vhd", "conectix", 0, 48, 8, false, 1},           {"vdi", "\x7f\x10\xda\xbe", 0x40, 0x170, 8, true, 1},
        {"ploop", "WithoutFreeSpace", 0, 36, 4, true, 512}, {"ploop", "WithouFreSpacExt", 0, 36, 8, true, 512},
    };
    static const uint64_t sizes[] = {0, 1, 1 << 20, UINT32_MAX, INT64_MAX / 512, UINT64_C(1) << 60, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            uint64_t told = kinds[k].width == 4 ? (uint32_t)sizes[i] : sizes[i];
            unsigned char *bytes = calloc(1, 512);
            memcpy(bytes + kinds[k].signature_at, kinds[k].signature, strlen(kinds[k].signature));
            put(bytes + kinds[k].at, told, kinds[k].width, kinds[k].little_endian);
            assert_int_equal(image_virtual_size(kinds[k].format, bytes, 512, 77), told > INT64_MAX / kinds[k].unit ? 0 : told * kinds[k].unit);
            for (size_t n = 0; n < kinds[k].at + kinds[k].width; n++)
                assert_int_equal(image_virtual_size(kinds[k].format, bytes, n, 77), 0);
            free(bytes);
        }
    }
    assert_int_equal(image_virtual_size("raw", "", 0, 12345), 12345);
    assert_int_equal(image_virtual_size("raw", "", 0, UINT64_MAX), 0); /* of unknown size */
    assert_int_equal(image_virtual_size("iso", "", 0, 12345), 0);
    assert_int_equal(image_virtual_size("vmdk", "# Disk DescriptorFile\n", 22, 12345), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),
        cmocka_unit_test(virtual_sizes),
        cmocka_unit_test(what_is_not_known),
        cmocka_unit_test(an_iso_with_a_partition_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
