/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper registers files of the cache directory only: what else a worker sends, the kernel would open with the keeper's rights. */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/backing.h"
#include "process/link.h"
#include "scratch.h"

/* What the keeper answers to a worker that sends PATH; there is no kernel behind it: -EBADF is what it says of a file that was taken. */
static int answer(const char *dir, const char *path)
{
    struct backings *b;
    struct link_message message = {.type = LINK_BACKING_OPEN, .row = 1};
    int ends[2], fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(backings_new(-1, dir, &b), 0);
    assert_int_equal(link_pair(ends), 0);
    assert_int_equal(link_send(ends[0], false, &message, &fd, 1), 0);
    assert_int_equal(backings_serve(b, ends[1]), 0);
    assert_int_equal(link_receive(ends[0], false, &message, NULL, 0), 0);
    assert_int_equal(message.type, LINK_BACKING);
    backings_free(b);
    close(ends[0]);
    close(ends[1]);
    close(fd);
    return message.result;
}

static void only_files_of_the_cache_directory(void **state)
{
    struct scratch *scratch = *state;
    const char *dir = scratch->dir, *file = scratch_path(scratch, "image");
    int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(answer(dir, file), -EBADF);
    assert_int_equal(answer(dir, dir), -EACCES);                 /* no regular file */
    assert_int_equal(answer(dir, "/proc/self/status"), -EACCES); /* of another file system */
    if (geteuid() == 0) {
        assert_int_equal(chown(dir, 65534, 65534), 0);
        assert_int_equal(answer(dir, file), -EACCES); /* of another user: root's, here */
        assert_int_equal(chown(file, 65534, 65534), 0);
        assert_int_equal(answer(dir, file), -EBADF);
    }
}

static void a_directory_that_is_not_there(void **state)
{
    struct backings *b = (void *)state;
    assert_int_equal(backings_new(-1, "/nowhere", &b), -ENOENT);
    assert_ptr_equal(b, state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(only_files_of_the_cache_directory),
        cmocka_unit_test(a_directory_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
