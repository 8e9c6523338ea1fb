/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what a worker enters, the next one finds. A worker that dies is one ledger closed (or one opened beside it: nothing is
 * written at the close), its successor another on the same memfd.
 */
#include "config-auto.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "process/ledger.h"

enum { USER = 1000 };

static int memory; /* the keeper's memfd */

static int set_up(void **state)
{
    (void)state;
    return ledger_create(&memory);
}

static int tear_down(void **state)
{
    (void)state;
    return close(memory);
}

static struct ledger *worker(void)
{
    struct ledger *l;
    assert_int_equal(ledger_open(memory, &l), 0);
    return l;
}

static uint64_t open_handle(struct ledger *l, int64_t row, uint64_t unique, bool resent)
{
    uint64_t handle;
    bool passthrough;
    assert_int_equal(ledger_open_handle(l, row, USER, unique, resent, false, &handle, &passthrough), 0);
    assert_false(passthrough);
    return handle;
}

/* ---- handles */

static void handles_are_counted_by_image(void **state)
{
    struct ledger *l = worker();
    (void)state;
    assert_int_equal(ledger_all_handles(l), 0);
    uint64_t a = open_handle(l, 1, 10, false), b = open_handle(l, 1, 11, false), c = open_handle(l, INT64_MAX, 12, false);
    assert_true(a != b && b != c && a != c);
    assert_int_equal(ledger_handles(l, 1), 2);
    assert_int_equal(ledger_handles(l, INT64_MAX), 1);
    assert_int_equal(ledger_handles(l, 2), 0);
    assert_int_equal(ledger_all_handles(l), 3);
    assert_int_equal(ledger_close_handle(l, a, 1), 1);
    assert_int_equal(ledger_close_handle(l, b, 1), 0);
    assert_int_equal(ledger_close_handle(l, c, INT64_MAX), 0);
    assert_int_equal(ledger_all_handles(l), 0);
    ledger_close(l);
    ledger_close(NULL);
}

static void the_next_worker_finds_the_handles(void **state)
{
    struct ledger *l = worker();
    (void)state;
    uint64_t a = open_handle(l, 1, 10, false), b = open_handle(l, 2, 11, false), c = open_handle(l, 2, 12, false);
    assert_int_equal(ledger_close_handle(l, b, 2), 1);
    ledger_close(l);
    l = worker();
    assert_int_equal(ledger_all_handles(l), 2);
    assert_int_equal(ledger_handles(l, 1), 1);
    assert_int_equal(ledger_handles(l, 2), 1);
    uint64_t d = open_handle(l, 3, 13, false); /* in the slot that is free */
    assert_true(d != a && d != b && d != c);
    assert_int_equal(ledger_close_handle(l, a, 1), 0);
    assert_int_equal(ledger_close_handle(l, c, 2), 0);
    assert_int_equal(ledger_close_handle(l, d, 3), 0);
    ledger_close(l);
}

/* The answer to an OPEN may be lost with the worker that entered it: the kernel asks again, and must not get a second handle. */
static void a_resent_open_gets_the_handle_it_had(void **state)
{
    struct ledger *l = worker();
    (void)state;
    uint64_t a = open_handle(l, 1, 10, false), b = open_handle(l, 1, 11, false);
    ledger_close(l);
    l = worker();
    assert_int_equal(open_handle(l, 1, 10, true), a);
    assert_int_equal(open_handle(l, 1, 11, true), b);
    assert_int_equal(ledger_handles(l, 1), 2);
    uint64_t c = open_handle(l, 1, 12, true); /* the worker died before it was entered */
    assert_true(c != a && c != b);
    uint64_t d = open_handle(l, 2, 10, true); /* another image is another request */
    assert_true(d != a);
    uint64_t e = open_handle(l, 1, 10, false); /* not resent: a number may come again, after 2^64 or a remount */
    assert_true(e != a);
    assert_int_equal(ledger_all_handles(l), 5);
    ledger_close(l);
}

static void note_row(void *context, int64_t row)
{
    int64_t *sum = context;
    *sum = *sum * 10 + row;
}

/* A worker died between entering a handle and answering; whoever opened may be gone with it, and then nothing closes the handle. */
static void handles_of_nobody_are_dropped(void **state)
{
    struct ledger *l = worker();
    int64_t rows = 0;
    (void)state;
    uint64_t answered = open_handle(l, 1, 10, false), again = open_handle(l, 2, 11, false);
    open_handle(l, 3, 12, false);
    open_handle(l, 1, 13, false);
    ledger_answering(l, answered, 1);
    ledger_answering(l, answered, 2); /* not its image: nothing happens */
    assert_int_equal(ledger_drop_orphans(l, note_row, &rows), 0); /* its own are under way */
    ledger_close(l);
    for (int next = 0; next < 2; next++) { /* they wait through any number of workers */
        l = worker();
        assert_int_equal(ledger_all_handles(l), 4);
        if (next == 0)
            ledger_close(l);
    }
    assert_int_equal(open_handle(l, 2, 11, true), again);
    uint64_t mine = open_handle(l, 3, 14, false);
    assert_int_equal(ledger_drop_orphans(l, note_row, &rows), 2);
    assert_int_equal(rows, 0); /* both rows have another handle */
    assert_int_equal(ledger_drop_orphans(l, note_row, &rows), 0);
    assert_int_equal(ledger_handles(l, 1), 1);
    assert_int_equal(ledger_handles(l, 2), 1);
    ledger_close(l);
    l = worker(); /* neither AGAIN nor MINE was answered */
    assert_int_equal(ledger_drop_orphans(l, note_row, &rows), 2);
    assert_true(rows == 23 || rows == 32);
    assert_int_equal(ledger_all_handles(l), 1);
    assert_int_equal(ledger_close_handle(l, mine, 3), 0);
    assert_int_equal(ledger_close_handle(l, answered, 1), 0);
    ledger_close(l);
}

static void a_release_that_comes_late_closes_nothing(void **state)
{
    struct ledger *l = worker();
    (void)state;
    uint64_t a = open_handle(l, 1, 10, false);
    assert_int_equal(ledger_close_handle(l, a, 1), 0);
    assert_int_equal(ledger_close_handle(l, a, 1), 0); /* resent */
    uint64_t b = open_handle(l, 1, 11, false);
    assert_true(a != b);
    assert_int_equal(ledger_close_handle(l, a, 1), 1); /* the slot is another's by now */
    ledger_close(l);
    l = worker();
    assert_int_equal(ledger_close_handle(l, a, 1), 1); /* to the next worker, too */
    assert_int_equal(ledger_close_handle(l, b, 2), 0); /* another image's */
    assert_int_equal(ledger_close_handle(l, UINT64_MAX, 1), 1);
    assert_int_equal(ledger_close_handle(l, b, 1), 0);
    ledger_close(l);
}

/* A worker killed while it closes a handle must leave it open or closed: half closed, the RELEASE sent again would not find it. */
static void closing_is_a_single_store(void **state)
{
    struct ledger *l = worker();
    struct stat st;
    (void)state;
    uint64_t handle = open_handle(l, 1, 10, false);
    assert_int_equal(fstat(memory, &st), 0);
    size_t words = (size_t)st.st_size / sizeof(uint64_t), changed = 0;
    uint64_t *before = malloc(words * sizeof(*before));
    assert_non_null(before);
    assert_int_equal(pread(memory, before, words * sizeof(*before), 0), words * sizeof(*before));
    assert_int_equal(ledger_close_handle(l, handle, 1), 0);
    uint64_t *after = mmap(NULL, words * sizeof(*after), PROT_READ, MAP_SHARED, memory, 0);
    assert_true(after != MAP_FAILED);
    for (size_t i = 0; i < words; i++)
        changed += before[i] != after[i];
    assert_int_equal(changed, 1);
    munmap(after, words * sizeof(*after));
    free(before);
    ledger_close(l);
}

static void the_first_handle_decides_the_mode(void **state)
{
    struct ledger *l = worker();
    uint64_t handle[5];
    bool passthrough;
    (void)state;
    assert_int_equal(ledger_open_handle(l, 1, USER, 10, false, true, &handle[0], &passthrough), 0);
    assert_true(passthrough);
    assert_int_equal(ledger_open_handle(l, 1, USER, 11, false, false, &handle[1], &passthrough), 0);
    assert_true(passthrough);
    assert_int_equal(ledger_open_handle(l, 2, USER, 12, false, false, &handle[2], &passthrough), 0);
    assert_false(passthrough);
    ledger_close(l);
    l = worker();
    assert_int_equal(ledger_open_handle(l, 2, USER, 13, false, true, &handle[3], &passthrough), 0);
    assert_false(passthrough);
    assert_int_equal(ledger_open_handle(l, 1, USER, 10, true, false, &handle[4], &passthrough), 0); /* resent */
    assert_true(passthrough);
    assert_int_equal(handle[4], handle[0]);
    assert_int_equal(ledger_close_handle(l, handle[0], 1), 1);
    assert_int_equal(ledger_close_handle(l, handle[1], 1), 0);
    assert_int_equal(ledger_open_handle(l, 1, USER, 14, false, false, &handle[4], &passthrough), 0); /* the first again */
    assert_false(passthrough);
    ledger_close(l);
}

static void a_full_table_says_so(void **state)
{
    struct ledger *l = worker();
    uint64_t handle = 7, first = 0, n = 0;
    bool passthrough = true;
    int r;
    (void)state;
    while ((r = ledger_open_handle(l, 1, USER, n, false, false, &handle, &passthrough)) == 0) {
        first = n++ == 0 ? handle : first;
        assert_true(n <= 1 << 20);
    }
    assert_int_equal(r, -ENFILE);
    uint64_t last = handle;
    assert_true(n >= 100000);
    assert_int_equal(ledger_handles(l, 1), n);
    assert_int_equal(ledger_open_handle(l, 2, USER, n, true, true, &handle, &passthrough), -ENFILE);
    assert_int_equal(handle, last);
    assert_false(passthrough);
    assert_int_equal(ledger_handles(l, 2), 0);
    assert_int_equal(ledger_close_handle(l, first, 1), n - 1);
    ledger_close(l);
    l = worker();
    assert_int_equal(ledger_handles(l, 1), n - 1);
    open_handle(l, 2, n, false);
    assert_int_equal(ledger_open_handle(l, 2, USER, n + 1, false, false, &handle, &passthrough), -ENFILE);
    ledger_close(l);
}

/* Also when another worker counts them, and when an OPEN comes again. */
static void a_user_has_a_share(void **state)
{
    enum { MOST = 3, OTHER = USER + 1, ROOT = 0 };
    struct ledger *l = worker();
    uint64_t handle, first = 0, n;
    bool passthrough;
    (void)state;
    ledger_limit_users(l, MOST);
    for (n = 0; n < MOST; n++)
        assert_int_equal(ledger_open_handle(l, 1, USER, n, false, false, n == 0 ? &first : &handle, &passthrough), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ledger_open_handle(l, 2, USER, n, false, false, &handle, &passthrough), -EMFILE);
        assert_int_equal(ledger_open_handle(l, 1, USER, 0, true, false, &handle, &passthrough), 0);
        assert_int_equal(handle, first);
        assert_int_equal(ledger_all_handles(l), MOST);
        ledger_close(l);
        l = worker();
        ledger_limit_users(l, MOST);
    }
    for (; n < 3 * MOST; n++)
        assert_int_equal(ledger_open_handle(l, 2, ROOT, n, false, false, &handle, &passthrough), 0);
    assert_int_equal(ledger_open_handle(l, 1, OTHER, n++, false, false, &handle, &passthrough), 0);
    assert_int_equal(ledger_close_handle(l, first, 1), MOST);
    assert_int_equal(ledger_open_handle(l, 2, USER, n, false, false, &handle, &passthrough), 0);
    assert_int_equal(ledger_open_handle(l, 2, USER, n + 1, false, false, &handle, &passthrough), -EMFILE);
    ledger_close(l);
}

/* Against a plain list, through many workers. */
static void random_opens_and_closes(void **state)
{
    enum { MOST = 200, ROWS = 7 };
    struct { uint64_t handle, unique; int64_t row; } list[MOST];
    uint64_t random = 1, unique = 0;
    unsigned count = 0;
    struct ledger *l = worker();
    (void)state;
    for (int step = 0; step < 20000; step++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        unsigned what = (unsigned)(random >> 40) % 100, which = count > 0 ? (unsigned)(random >> 50) % count : 0;
        int64_t row = 1 + (int64_t)((random >> 33) % ROWS);
        if (what < 2) {
            ledger_close(l);
            l = worker();
        } else if (what < 10 && count > 0) {
            assert_int_equal(open_handle(l, list[which].row, list[which].unique, true), list[which].handle);
        } else if (what < 56 && count < MOST) {
            uint64_t handle = open_handle(l, row, ++unique, false);
            for (unsigned i = 0; i < count; i++)
                assert_true(list[i].handle != handle);
            list[count].handle = handle;
            list[count].unique = unique;
            list[count++].row = row;
        } else if (count > 0) {
            row = list[which].row;
            ledger_close_handle(l, list[which].handle, row);
            ledger_close_handle(l, list[which].handle, row);
            list[which] = list[--count];
        }
        unsigned of_row = 0;
        for (unsigned i = 0; i < count; i++)
            of_row += list[i].row == row;
        assert_int_equal(ledger_handles(l, row), of_row);
        assert_int_equal(ledger_all_handles(l), count);
    }
    ledger_close(l);
}

/* ---- counters, INIT */

static void counters_go_on(void **state)
{
    struct ledger *l = worker();
    int64_t mounted = ledger_mounted_at(l);
    (void)state;
    assert_true(mounted > 0 && mounted <= clock_now());
    for (int i = 0; i < COUNT_END; i++) {
        assert_int_equal(ledger_counter(l, (enum ledger_counter)i), 0);
        ledger_count(l, (enum ledger_counter)i, (uint64_t)i + 1);
    }
    ledger_count(l, COUNT_BYTES_READ, UINT64_C(1) << 50);
    ledger_close(l);
    l = worker();
    ledger_count(l, COUNT_HITS, 5);
    for (int i = 0; i < COUNT_END; i++) {
        uint64_t more = i == COUNT_HITS ? 5 : i == COUNT_BYTES_READ ? UINT64_C(1) << 50 : 0;
        assert_int_equal(ledger_counter(l, (enum ledger_counter)i), (uint64_t)i + 1 + more);
    }
    assert_int_equal(ledger_mounted_at(l), mounted);
    ledger_close(l);
}

static void durations_fall_into_one_class_each(void **state)
{
    struct ledger *l = worker();
    (void)state;
    for (unsigned d = 0; d < DURATION_COUNT; d++) {
        const double *bounds = ledger_bounds(d);
        double sum = 0;
        for (unsigned i = 0; i < LEDGER_CLASSES - 1; i++) {
            assert_true(i == 0 || bounds[i] > bounds[i - 1]);
            ledger_measure(l, d, (int64_t)(bounds[i] * 1e9)); /* the bound belongs to it */
            sum += bounds[i];
            assert_int_equal(ledger_class(l, d, i), 1);
        }
        assert_int_equal(ledger_class(l, d, LEDGER_CLASSES - 1), 0);
        ledger_measure(l, d, INT64_C(3600) * 1000000000);
        assert_int_equal(ledger_class(l, d, LEDGER_CLASSES - 1), 1);
        ledger_measure(l, d, -1); /* a clock that went back is no duration */
        assert_int_equal(ledger_class(l, d, 0), 2);
        assert_true(ledger_sum(l, d) - sum - 3600 < 1e-3 && ledger_sum(l, d) - sum - 3600 > -1e-3);
    }
    ledger_close(l);
}

static void failures_count_by_their_reason_and_together(void **state)
{
    struct ledger *l = worker();
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        assert_true(LEDGER_REASONS[i] != NULL && LEDGER_REASONS[i][0] != '\0');
        ledger_count_failure(l, i);
        assert_int_equal(ledger_counter(l, COUNT_REASONS + i), 1);
    }
    assert_int_equal(ledger_counter(l, COUNT_BACKEND_ERRORS), REASON_COUNT);
    ledger_close(l);
}

static void init_is_kept(void **state)
{
    struct ledger *l = worker();
    unsigned char request[LEDGER_INIT_MAX], got[LEDGER_INIT_MAX];
    uint64_t agreed = 7;
    (void)state;
    assert_int_equal(ledger_get_init(l, got, sizeof(got), &agreed), 0); /* none yet */
    assert_int_equal(agreed, 7);
    for (size_t i = 0; i < sizeof(request); i++)
        request[i] = (unsigned char)(i * 7);
    ledger_put_init(l, request, 104, UINT64_C(0x1234567890abcdef));
    ledger_close(l);
    l = worker();
    assert_int_equal(ledger_get_init(l, got, 103, &agreed), 0); /* no room */
    assert_int_equal(agreed, 7);
    assert_int_equal(ledger_get_init(l, got, sizeof(got), &agreed), 104);
    assert_memory_equal(got, request, 104);
    assert_int_equal(agreed, INT64_C(0x1234567890abcdef));
    ledger_put_init(l, request, sizeof(request), 1);
    assert_int_equal(ledger_get_init(l, got, sizeof(got), &agreed), sizeof(request));
    assert_memory_equal(got, request, sizeof(request));
    ledger_close(l);
}

/* ---- what is no ledger */

static void what_is_no_ledger_is_refused(void **state)
{
    struct ledger *l = (void *)state;
    struct stat st;
    assert_int_equal(fstat(memory, &st), 0);
    assert_true(fcntl(memory, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(ledger_open(-1, &l), -EBADF);

    int other = memfd_create("other", MFD_CLOEXEC);
    assert_true(other >= 0);
    assert_int_equal(ledger_open(other, &l), -EBADMSG); /* empty */
    assert_int_equal(ftruncate(other, st.st_size), 0);
    assert_int_equal(ledger_open(other, &l), -EBADMSG); /* zeroes */
    char header[64], damaged[64];
    assert_int_equal(pread(memory, header, sizeof(header), 0), sizeof(header));
    for (size_t i = 0; i < 16; i++) { /* magic, version, slots */
        memcpy(damaged, header, sizeof(header));
        damaged[i] ^= 4;
        assert_int_equal(pwrite(other, damaged, sizeof(damaged), 0), sizeof(damaged));
        assert_int_equal(ledger_open(other, &l), -EBADMSG);
    }
    assert_ptr_equal(l, state);
    assert_int_equal(pwrite(other, header, sizeof(header), 0), sizeof(header));
    assert_int_equal(ledger_open(other, &l), 0);
    ledger_close(l);
    assert_int_equal(ftruncate(other, st.st_size - 1), 0);
    assert_int_equal(ledger_open(other, &l), -EBADMSG);
    assert_int_equal(ftruncate(other, st.st_size + 1), 0);
    assert_int_equal(ledger_open(other, &l), -EBADMSG);
    close(other);
}

/* By a worker that is not ours any more: what it holds is the keeper's memory, too. */
static void its_size_cannot_change(void **state)
{
    struct stat st;
    (void)state;
    assert_int_equal(fstat(memory, &st), 0);
    assert_int_equal(ftruncate(memory, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(memory, st.st_size + 4096), -1);
    assert_int_equal(fcntl(memory, F_ADD_SEALS, F_SEAL_WRITE), -1);
    struct stat now;
    assert_int_equal(fstat(memory, &now), 0);
    assert_int_equal(now.st_size, st.st_size);
}

/* Bytes 0 to END of the memory but its head are ones: rows, numbers, counters, and how many slots were used. */
static void nonsense_in_it_is_survived(void **state)
{
    struct stat st;
    (void)state;
    struct ledger *l = worker(), *other = worker();
    uint64_t handle = open_handle(l, 7, 1, false);
    assert_int_equal(fstat(memory, &st), 0);
    unsigned char *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    assert_ptr_not_equal(bytes, MAP_FAILED);
    memset(bytes + 16, 0xff, (size_t)st.st_size - 16);
    assert_int_equal(ledger_handles(l, 7), 1);
    ledger_turn_caching(l, 7);
    assert_true(ledger_is_caching(l, handle, 7));
    assert_true(ledger_is_caching(l, UINT64_MAX, -1));
    ledger_close_handle(l, UINT64_MAX, 7);
    uint64_t again;
    bool passthrough;
    assert_int_equal(ledger_open_handle(l, 8, USER, 2, true, true, &again, &passthrough), -ENFILE);
    unsigned char init[LEDGER_INIT_MAX];
    uint64_t agreed;
    assert_int_equal(ledger_get_init(l, init, sizeof(init), &agreed), 0);
    ledger_close(other);
    other = worker(); /* the next one: rows that there are not, in slots that there are */
    assert_true(ledger_all_handles(other) > 0);
    ledger_close(other);
    ledger_close(l);
    munmap(bytes, (size_t)st.st_size);
}

#define ledger_test(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ledger_test(handles_are_counted_by_image),
        ledger_test(the_next_worker_finds_the_handles),
        ledger_test(a_resent_open_gets_the_handle_it_had),
        ledger_test(handles_of_nobody_are_dropped),
        ledger_test(a_release_that_comes_late_closes_nothing),
        ledger_test(closing_is_a_single_store),
        ledger_test(the_first_handle_decides_the_mode),
        ledger_test(a_full_table_says_so),
        ledger_test(a_user_has_a_share),
        ledger_test(random_opens_and_closes),
        ledger_test(counters_go_on),
        ledger_test(durations_fall_into_one_class_each),
        ledger_test(failures_count_by_their_reason_and_together),
        ledger_test(init_is_kept),
        ledger_test(what_is_no_ledger_is_refused),
        ledger_test(its_size_cannot_change),
        ledger_test(nonsense_in_it_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
