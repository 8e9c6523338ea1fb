/* SPDX-License-Identifier: Apache-2.0 */
/* Lines of mountinfo. */
#include "config-auto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mountinfo.h"

static void a_mount_of_ours(void **state)
{
    struct mountinfo m;
    (void)state;
    assert_true(mountinfo_parse("36 25 0:45 / /srv/with\\040space\\134x rw,nosuid shared:7 master:1 - fuse.glance-cache-fs "
                                "/etc/a\\011b.conf rw,user_id=0\n",
                                &m));
    assert_string_equal(m.point, "/srv/with space\\x");
    assert_string_equal(m.source, "/etc/a\tb.conf");
    assert_string_equal(m.device, "0:45");
    assert_true(m.whole);
    assert_int_equal(m.owner, 0);
    assert_true(mountinfo_is_ours(&m));
    mountinfo_clear(&m);
    assert_null(m.point);
}

static void whose_it_is(void **state)
{
    static const struct { const char *options; long long owner; } all[] = {
        {"rw,user_id=1000,group_id=5,allow_other", 1000}, {"user_id=7", 7}, {"rw,group_id=0", -1}, {"rw,xuser_id=0,user_id=3", 3}, {"", -1},
    };
    char line[256];
    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        struct mountinfo m;
        snprintf(line, sizeof(line), "36 25 0:45 / /mnt rw - fuse.glance-cache-fs user_id=0,x %s\n", all[i].options);
        assert_true(mountinfo_parse(line, &m));
        assert_int_equal(m.owner, all[i].owner);
        mountinfo_clear(&m);
    }
}

static void a_bind_mount_of_another(void **state)
{
    struct mountinfo m;
    (void)state;
    assert_true(mountinfo_parse("36 25 8:1 /part /mnt rw - ext4 /dev/sda1 rw", &m)); /* no optional fields */
    assert_false(m.whole);
    assert_false(mountinfo_is_ours(&m));
    mountinfo_clear(&m);
}

static void what_is_no_line(void **state)
{
    static const char *const lines[] = {"", "\n", " - ", "36 25 0:45 / /mnt rw", "36 25 - fuse x", "36 25 0:45 / /mnt rw - fuse", "\\"};
    struct mountinfo m;
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        assert_false(mountinfo_parse(lines[i], &m));
        assert_null(m.point);
        assert_null(m.source);
    }
}

static void an_escape_cut_short_stays(void **state)
{
    struct mountinfo m;
    (void)state;
    assert_true(mountinfo_parse("1 2 0:3 / /a\\04 rw - x y\\", &m));
    assert_string_equal(m.point, "/a\\04");
    assert_string_equal(m.source, "y\\");
    mountinfo_clear(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_mount_of_ours), cmocka_unit_test(whose_it_is),
        cmocka_unit_test(a_bind_mount_of_another),
        cmocka_unit_test(what_is_no_line),
        cmocka_unit_test(an_escape_cut_short_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
