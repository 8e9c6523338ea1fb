/* SPDX-License-Identifier: Apache-2.0 */
/* What first bytes tell of an image. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signatures),
        cmocka_unit_test(what_is_not_known),
        cmocka_unit_test(an_iso_with_a_partition_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
