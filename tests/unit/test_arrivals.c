/* SPDX-License-Identifier: Apache-2.0 */
/* Arrivals: what one worker noted is there for the next, whole or not at all. */
#include "config-auto.h"

#include <errno.h>
#include <setjmp.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/chunkmap.h"
#include "process/arrivals.h"

static int fd;

static int set_up(void **state)
{
    struct arrivals *a;
    assert_int_equal(arrivals_create(&fd), 0);
    assert_int_equal(arrivals_open(fd, &a), 0);
    *state = a;
    return 0;
}

static int tear_down(void **state)
{
    arrivals_close(*state);
    close(fd);
    return 0;
}

/* As after a worker's death: nothing was closed. */
static struct arrivals *next_worker(void)
{
    struct arrivals *a;
    assert_int_equal(arrivals_open(fd, &a), 0);
    return a;
}

static unsigned char bits_at(const struct track *t, size_t index)
{
    size_t length;
    const unsigned char *bits = track_bits(t, &length);
    assert_true(index < length);
    return bits[index];
}

static void bits_outlive_who_set_them(void **state)
{
    static const unsigned char begin[3] = {0x01, 0x00, 0x80};
    struct track *t = arrivals_add(*state, 7, begin, sizeof(begin));
    size_t length;
    assert_non_null(t);
    track_set(t, 9);
    track_set(t, 9);
    struct arrivals *next = next_worker();
    const struct track *found = arrivals_find(next, 7);
    assert_non_null(found);
    track_bits(found, &length);
    assert_int_equal(length, 3);
    assert_int_equal(bits_at(found, 0), 0x01);
    assert_int_equal(bits_at(found, 1), 0x02);
    assert_int_equal(bits_at(found, 2), 0x80);
    assert_null(arrivals_find(next, 8));
    arrivals_close(next);
}

static void a_track_begins_anew(void **state)
{
    static const unsigned char full[2] = {0xff, 0xff}, empty[2] = {0, 0};
    struct track *t = arrivals_add(*state, 7, full, sizeof(full));
    track_free(*state, t);
    assert_null(arrivals_find(*state, 7));
    t = arrivals_add(*state, 7, empty, sizeof(empty));
    assert_int_equal(bits_at(t, 0) | bits_at(t, 1), 0);
    assert_non_null(arrivals_add(*state, 7, full, 1)); /* of another length, in place of the old one */
    int64_t rows[4];
    assert_int_equal(arrivals_rows(*state, rows, 4), 1);
    assert_int_equal(rows[0], 7);
    track_free(*state, NULL);
}

static void as_many_as_there_are(void **state)
{
    static unsigned char bits[CHUNKMAP_MAX_BYTES];
    int64_t rows[ARRIVALS_TRACKS + 1];
    bits[CHUNKMAP_MAX_BYTES - 1] = 0x40;
    for (int64_t row = 1; row <= ARRIVALS_TRACKS; row++)
        assert_non_null(arrivals_add(*state, row, bits, sizeof(bits)));
    assert_null(arrivals_add(*state, 1000, bits, sizeof(bits)));
    assert_int_equal(arrivals_rows(*state, rows, ARRIVALS_TRACKS + 1), ARRIVALS_TRACKS);
    track_free(*state, arrivals_find(*state, 50));
    struct arrivals *next = next_worker();
    struct track *t = arrivals_add(next, 1000, bits, sizeof(bits));
    assert_non_null(t);
    assert_int_equal(bits_at(t, CHUNKMAP_MAX_BYTES - 1), 0x40);
    assert_int_equal(bits_at(arrivals_find(next, 51), 0), 0);
    arrivals_close(next);
    assert_null(arrivals_add(*state, 1001, bits, CHUNKMAP_MAX_BYTES + 1));
}

static void other_memory_is_refused(void **state)
{
    struct arrivals *a = (void *)state;
    int other = memfd_create("other", MFD_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(arrivals_open(other, &a), -EBADMSG);
    off_t size = lseek(fd, 0, SEEK_END);
    assert_int_equal(ftruncate(other, size), 0);
    assert_int_equal(arrivals_open(other, &a), -EBADMSG);
    assert_ptr_equal(a, (void *)state);
    close(other);
}

/* By a worker that is not ours any more: what it holds is the keeper's fd, too. */
static void its_size_cannot_change(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, st.st_size + 4096), -1);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    struct stat now;
    assert_int_equal(fstat(fd, &now), 0);
    assert_int_equal(now.st_size, st.st_size);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bits_outlive_who_set_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_track_begins_anew, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_many_as_there_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_memory_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(its_size_cannot_change, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
